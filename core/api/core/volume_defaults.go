package core

import (
	corev1 "k8s.io/api/core/v1"
)

func defaultVolume(v *corev1.Volume) {
	s := &v.VolumeSource
	if *s == (corev1.VolumeSource{}) {
		s.EmptyDir = &corev1.EmptyDirVolumeSource{}
	}
	switch {
	case s.HostPath != nil:
		setDefaultPointer(&s.HostPath.Type, corev1.HostPathUnset)
	case s.Secret != nil:
		setDefaultPointer(&s.Secret.DefaultMode, fileMode)
	case s.ConfigMap != nil:
		setDefaultPointer(&s.ConfigMap.DefaultMode, fileMode)
	case s.DownwardAPI != nil:
		setDefaultPointer(&s.DownwardAPI.DefaultMode, fileMode)
		defaultDownward(s.DownwardAPI.Items)
	case s.Projected != nil:
		defaultProjected(s.Projected)
	case s.Image != nil && s.Image.PullPolicy == "":
		s.Image.PullPolicy = pullPolicy(s.Image.Reference)
	case s.Ephemeral != nil && s.Ephemeral.VolumeClaimTemplate != nil:
		setDefaultPointer(&s.Ephemeral.VolumeClaimTemplate.Spec.VolumeMode, corev1.PersistentVolumeFilesystem)
	}
	defaultBlockVolume(s)
}

// defaultBlockVolume does so for the drivers that are built into the API.
func defaultBlockVolume(s *corev1.VolumeSource) {
	switch {
	case s.ISCSI != nil:
		setDefault(&s.ISCSI.ISCSIInterface, "default")
	case s.RBD != nil:
		setDefault(&s.RBD.RBDPool, "rbd")
		setDefault(&s.RBD.RadosUser, "admin")
		setDefault(&s.RBD.Keyring, "/etc/ceph/keyring")
	case s.ScaleIO != nil:
		setDefault(&s.ScaleIO.StorageMode, "ThinProvisioned")
		setDefault(&s.ScaleIO.FSType, "xfs")
	case s.AzureDisk != nil:
		setDefaultPointer(&s.AzureDisk.CachingMode, corev1.AzureDataDiskCachingReadWrite)
		setDefaultPointer(&s.AzureDisk.Kind, corev1.AzureSharedBlobDisk)
		setDefaultPointer(&s.AzureDisk.FSType, "ext4")
		setDefaultPointer(&s.AzureDisk.ReadOnly, false)
	}
}

func defaultProjected(p *corev1.ProjectedVolumeSource) {
	setDefaultPointer(&p.DefaultMode, fileMode)
	for i := range p.Sources {
		source := &p.Sources[i]
		if source.DownwardAPI != nil {
			defaultDownward(source.DownwardAPI.Items)
		}
		if source.ServiceAccountToken != nil {
			setDefaultPointer(&source.ServiceAccountToken.ExpirationSeconds, tokenSeconds)
		}
		if source.PodCertificate != nil {
			setDefaultPointer(&source.PodCertificate.MaxExpirationSeconds, certificateSeconds)
		}
	}
}

func defaultDownward(files []corev1.DownwardAPIVolumeFile) {
	for i := range files {
		if ref := files[i].FieldRef; ref != nil {
			setDefault(&ref.APIVersion, "v1")
		}
	}
}
