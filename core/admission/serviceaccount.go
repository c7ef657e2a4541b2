package admission

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"

	"github.com/gantryio/gantry/core/api"
)

// ServiceAccount gives pods the account "default" when they name none, the account's pull secrets when they have none,
// and a volume with what it takes to talk to the API: a token that is bound to the pod, the authority's certificate and
// the namespace.
type ServiceAccount struct{ Objects Reader }

var _ Mutator = ServiceAccount{}

// Name implements [Plugin].
func (ServiceAccount) Name() string { return "ServiceAccount" }

// About implements [Selective].
func (ServiceAccount) About(r *api.Resource) bool { return isOf(r, "", "Pod") }

const (
	defaultAccount = "default"
	accessVolume   = "kube-api-access-"
	accessPath     = "/var/run/secrets/kubernetes.io/serviceaccount"
	accessSeconds  = 3607 // an hour, and a little for the clock; agents renew earlier
	accessMode     = 0o644
	authority      = "kube-root-ca.crt"
)

// Admit implements [Mutator].
func (s ServiceAccount) Admit(ctx context.Context, a *Attributes) error {
	pod := newPod(a)
	if pod == nil {
		return nil
	}
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return nil
	}
	if pod.Spec.ServiceAccountName == "" {
		pod.Spec.ServiceAccountName = defaultAccount
	}
	pod.Spec.DeprecatedServiceAccount = pod.Spec.ServiceAccountName
	account, err := s.Objects.serviceAccount(ctx, a.Namespace, pod.Spec.ServiceAccountName)
	if err != nil {
		return err
	}
	if account == nil {
		// That of a new namespace is on its way, and the pod can wait for it.
		if pod.Spec.ServiceAccountName != defaultAccount {
			return refusePod(a, "error looking up service account %s/%s: serviceaccount %q not found",
				a.Namespace, pod.Spec.ServiceAccountName, pod.Spec.ServiceAccountName)
		}
		account = &corev1.ServiceAccount{}
	}
	if len(pod.Spec.ImagePullSecrets) == 0 {
		pod.Spec.ImagePullSecrets = slices.Clone(account.ImagePullSecrets)
	}
	if wantsAccess(pod, account) {
		mountAccess(pod)
	}
	return nil
}

// wantsAccess follows the pod, then its account.
func wantsAccess(pod *corev1.Pod, account *corev1.ServiceAccount) bool {
	if yes := pod.Spec.AutomountServiceAccountToken; yes != nil {
		return *yes
	}
	if yes := account.AutomountServiceAccountToken; yes != nil {
		return *yes
	}
	return true
}

// mountAccess adds the volume for the containers that have nothing at its path.
func mountAccess(pod *corev1.Pod) {
	name, exists := "", false
	for i := range pod.Spec.Volumes {
		if strings.HasPrefix(pod.Spec.Volumes[i].Name, accessVolume) {
			name, exists = pod.Spec.Volumes[i].Name, true
		}
	}
	if !exists {
		name = accessVolume + utilrand.String(5)
	}
	needed := false
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			c := &list[i]
			if slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == accessPath }) {
				continue
			}
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: name, ReadOnly: true, MountPath: accessPath})
			needed = true
		}
	}
	if needed && !exists {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: accessSource()})
	}
}

func accessSource() corev1.VolumeSource {
	return corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		DefaultMode: new(int32(accessMode)),
		Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{ExpirationSeconds: new(int64(accessSeconds)), Path: "token"}},
			{ConfigMap: &corev1.ConfigMapProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: authority},
				Items:                []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}},
			}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{
				Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"},
			}}}},
		},
	}}
}
