// Package static reads the pods that a folder of manifests declares for a node. It exists because such pods are there
// before, and without, the API: all that makes them pods of this node is decided here, from files alone.
package static

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/gantryio/gantry/core/api/core"
)

// The annotations of static pods are those of the kubelet: MirrorOf is on their copies in the API and names the version that
// they are copies of.
const (
	Source   = "kubernetes.io/config.source"
	Hash     = "kubernetes.io/config.hash"
	Seen     = "kubernetes.io/config.seen"
	MirrorOf = corev1.MirrorPodAnnotationKey
)

// Read returns the pods of a folder for a node, by the order of their files, and why other files have none. Files whose
// names begin with a dot and folders do not count; a folder that is not there has no files.
func Read(dir, node string, now time.Time) ([]*corev1.Pod, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read static pods: %w", err)
	}
	var pods []*corev1.Pod
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || e.IsDir() {
			continue
		}
		file := filepath.Join(dir, e.Name())
		raw, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // It has just gone.
		}
		var p *corev1.Pod
		if err == nil {
			p, err = Parse(raw, file, node, now)
		}
		if err == nil && slices.ContainsFunc(pods, func(q *corev1.Pod) bool { return q.Name == p.Name && q.Namespace == p.Namespace }) {
			err = fmt.Errorf("another file has pod %s/%s already", p.Namespace, p.Name)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("read static pod %s: %w", file, err))
			continue
		}
		pods = append(pods, p)
	}
	return pods, errors.Join(errs...)
}

// Parse makes a pod of a manifest. Its UID changes with what the manifest says, the file and the node.
func Parse(raw []byte, file, node string, now time.Time) (*corev1.Pod, error) {
	p := &corev1.Pod{}
	if err := yaml.UnmarshalStrict(raw, p); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	if p.APIVersion != "v1" || p.Kind != "Pod" {
		return nil, fmt.Errorf("it is a %s of %q, want a Pod of \"v1\"", p.Kind, p.APIVersion)
	}
	if p.Name == "" {
		return nil, errors.New("metadata.name: Required value")
	}
	p.Name += "-" + strings.ToLower(node)
	if p.Namespace == "" {
		p.Namespace = metav1.NamespaceDefault
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s", node, file, raw))
	if p.UID == "" {
		p.UID = types.UID(hex.EncodeToString(sum[:16]))
	}
	if p.Annotations == nil {
		p.Annotations = map[string]string{}
	}
	p.Annotations[Source], p.Annotations[Hash] = "file", hex.EncodeToString(sum[:16])
	p.Annotations[Seen] = now.Format(time.RFC3339Nano)
	p.Spec.NodeName, p.Status = node, corev1.PodStatus{Phase: corev1.PodPending}
	// Nothing but its file takes a static pod from its node.
	all := corev1.Toleration{Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}
	if !slices.Contains(p.Spec.Tolerations, all) {
		p.Spec.Tolerations = append(p.Spec.Tolerations, all)
	}
	core.DefaultPod(p)
	if errs := core.Pods.Validate(p, nil); len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	if what := reference(&p.Spec); what != "" {
		return nil, fmt.Errorf("static pods may not refer to %s", what)
	}
	return p, nil
}

// reference names a kind of API objects that a pod refers to; "" for none.
func reference(s *corev1.PodSpec) string {
	switch {
	case s.ServiceAccountName != "" || s.DeprecatedServiceAccount != "":
		return "service accounts"
	case len(s.ImagePullSecrets) > 0:
		return "secrets"
	case len(s.ResourceClaims) > 0:
		return "resource claims"
	}
	for i := range s.Volumes {
		if what := volumeReference(&s.Volumes[i].VolumeSource); what != "" {
			return what
		}
	}
	for _, list := range [][]corev1.Container{s.InitContainers, s.Containers} {
		for i := range list {
			if what := environmentReference(&list[i]); what != "" {
				return what
			}
		}
	}
	return ""
}

func volumeReference(v *corev1.VolumeSource) string {
	switch {
	case v.Secret != nil:
		return "secrets"
	case v.ConfigMap != nil:
		return "config maps"
	case v.PersistentVolumeClaim != nil || v.Ephemeral != nil:
		return "claims"
	case v.CSI != nil && v.CSI.NodePublishSecretRef != nil:
		return "secrets"
	case v.Projected == nil:
		return ""
	}
	for _, s := range v.Projected.Sources {
		switch {
		case s.Secret != nil:
			return "secrets"
		case s.ConfigMap != nil:
			return "config maps"
		case s.ServiceAccountToken != nil:
			return "service accounts"
		case s.ClusterTrustBundle != nil:
			return "cluster trust bundles"
		}
	}
	return ""
}

func environmentReference(c *corev1.Container) string {
	for _, f := range c.EnvFrom {
		if f.SecretRef != nil {
			return "secrets"
		}
		if f.ConfigMapRef != nil {
			return "config maps"
		}
	}
	for _, e := range c.Env {
		if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
			return "secrets"
		}
		if e.ValueFrom != nil && e.ValueFrom.ConfigMapKeyRef != nil {
			return "config maps"
		}
	}
	return ""
}

// Mirror is the copy of a static pod that the API gets.
func Mirror(p *corev1.Pod, node *corev1.Node) *corev1.Pod {
	m := p.DeepCopy()
	m.UID, m.ResourceVersion, m.CreationTimestamp, m.Status = "", "", metav1.Time{}, corev1.PodStatus{}
	m.Annotations[MirrorOf] = p.Annotations[Hash]
	controller := true
	m.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID, Controller: &controller}}
	return m
}

// IsMirror tells that a pod of the API is such a copy.
func IsMirror(p *corev1.Pod) bool {
	_, ok := p.Annotations[MirrorOf]
	return ok
}

// Merge is a static pod with what the API knows of its copy: the status, and the version to base the next one on.
func Merge(p, mirror *corev1.Pod) *corev1.Pod {
	m := p.DeepCopy()
	m.ResourceVersion, m.CreationTimestamp, m.Generation = mirror.ResourceVersion, mirror.CreationTimestamp, mirror.Generation
	m.Status = *mirror.Status.DeepCopy()
	if m.Status.Phase == "" {
		m.Status.Phase = corev1.PodPending
	}
	return m
}
