package core

import (
	corev1 "k8s.io/api/core/v1"
)

// defaultVolume fills in every source that is given, so that it does the same again to what validation refuses for having two.
func defaultVolume(v *corev1.Volume) {
	s := &v.VolumeSource
	if *s == (corev1.VolumeSource{}) {
		s.EmptyDir = &corev1.EmptyDirVolumeSource{}
	}
	if s.HostPath != nil {
		setDefaultPointer(&s.HostPath.Type, corev1.HostPathUnset)
	}
	if s.Secret != nil {
		setDefaultPointer(&s.Secret.DefaultMode, fileMode)
	}
	if s.ConfigMap != nil {
		setDefaultPointer(&s.ConfigMap.DefaultMode, fileMode)
	}
	if s.DownwardAPI != nil {
		setDefaultPointer(&s.DownwardAPI.DefaultMode, fileMode)
		defaultDownward(s.DownwardAPI.Items)
	}
	if s.Projected != nil {
		defaultProjected(s.Projected)
	}
	if s.Image != nil && s.Image.PullPolicy == "" {
		s.Image.PullPolicy = pullPolicy(s.Image.Reference)
	}
	if s.Ephemeral != nil && s.Ephemeral.VolumeClaimTemplate != nil {
		setDefaultPointer(&s.Ephemeral.VolumeClaimTemplate.Spec.VolumeMode, corev1.PersistentVolumeFilesystem)
	}
	defaultBlockVolume(s)
}

// defaultBlockVolume does so for the drivers that are built into the API.
func defaultBlockVolume(s *corev1.VolumeSource) {
	if s.ISCSI != nil {
		setDefault(&s.ISCSI.ISCSIInterface, "default")
	}
	if s.RBD != nil {
		setDefault(&s.RBD.RBDPool, "rbd")
		setDefault(&s.RBD.RadosUser, "admin")
		setDefault(&s.RBD.Keyring, "/etc/ceph/keyring")
	}
	if s.ScaleIO != nil {
		setDefault(&s.ScaleIO.StorageMode, "ThinProvisioned")
		setDefault(&s.ScaleIO.FSType, "xfs")
	}
	if s.AzureDisk != nil {
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
