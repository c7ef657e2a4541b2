package auth

import corev1 "k8s.io/api/core/v1"

// PodRefersTo tells whether the pod uses the ConfigMap or Secret of its namespace called name; resource is
// "configmaps" or "secrets".
func PodRefersTo(pod *corev1.Pod, resource, name string) bool {
	secret := resource == "secrets"
	if secret {
		for _, ref := range pod.Spec.ImagePullSecrets {
			if ref.Name == name {
				return true
			}
		}
	}
	for i := range pod.Spec.Volumes {
		if volumeRefersTo(&pod.Spec.Volumes[i].VolumeSource, secret, name) {
			return true
		}
	}
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if containerRefersTo(&list[i], secret, name) {
				return true
			}
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		c := corev1.Container(pod.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		if containerRefersTo(&c, secret, name) {
			return true
		}
	}
	return false
}

func volumeRefersTo(v *corev1.VolumeSource, secret bool, name string) bool {
	if v.Projected != nil {
		for _, p := range v.Projected.Sources {
			if secret && p.Secret != nil && p.Secret.Name == name || !secret && p.ConfigMap != nil && p.ConfigMap.Name == name {
				return true
			}
		}
	}
	if secret {
		return v.Secret != nil && v.Secret.SecretName == name
	}
	return v.ConfigMap != nil && v.ConfigMap.Name == name
}

func containerRefersTo(c *corev1.Container, secret bool, name string) bool {
	for _, from := range c.EnvFrom {
		if secret && from.SecretRef != nil && from.SecretRef.Name == name || !secret && from.ConfigMapRef != nil && from.ConfigMapRef.Name == name {
			return true
		}
	}
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			continue
		}
		if ref := e.ValueFrom.SecretKeyRef; secret && ref != nil && ref.Name == name {
			return true
		}
		if ref := e.ValueFrom.ConfigMapKeyRef; !secret && ref != nil && ref.Name == name {
			return true
		}
	}
	return false
}
