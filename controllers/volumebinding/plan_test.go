package volumebinding

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/storage/volume"
)

func claim(edits ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "c", UID: "c1", Annotations: map[string]string{}},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("2Gi")}},
		},
		Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending},
	}
	for _, e := range edits {
		e(c)
	}
	return c
}

func of(class string) func(*corev1.PersistentVolumeClaim) {
	return func(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName = &class }
}

func named(v string) func(*corev1.PersistentVolumeClaim) {
	return func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName = v }
}

func noted(key, value string) func(*corev1.PersistentVolumeClaim) {
	return func(c *corev1.PersistentVolumeClaim) { c.Annotations[key] = value }
}

func pv(name, size string, edits ...func(*corev1.PersistentVolume)) *corev1.PersistentVolume {
	v := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
		},
		Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeAvailable},
	}
	for _, e := range edits {
		e(v)
	}
	return v
}

func reserved(name, uid string) func(*corev1.PersistentVolume) {
	return func(v *corev1.PersistentVolume) {
		v.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "x", Name: name, UID: types.UID(uid)}
	}
}

func shared(v *corev1.PersistentVolume) {
	v.Spec.AccessModes = append(v.Spec.AccessModes, corev1.ReadWriteMany)
}

func TestPlanClaim(t *testing.T) {
	immediate := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "net"}, Provisioner: "example.com/disk", VolumeBindingMode: new(storagev1.VolumeBindingImmediate)}
	later := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "net"}, Provisioner: "example.com/disk", VolumeBindingMode: new(storagev1.VolumeBindingWaitForFirstConsumer)}
	none := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "net"}, Provisioner: volume.NotSupportedProvisioner, VolumeBindingMode: new(storagev1.VolumeBindingImmediate)}
	ofNet := func(v *corev1.PersistentVolume) { v.Spec.StorageClassName = "net" }
	bound := noted(volume.AnnBindCompleted, "yes")
	for _, tc := range []struct {
		name   string
		s      situation
		bind   string
		phase  corev1.PersistentVolumeClaimPhase
		reason string
		prov   string
		class  string
	}{
		{name: "the smallest that is large enough", s: situation{claim: claim(), volumes: []*corev1.PersistentVolume{pv("a", "5Gi"), pv("b", "1Gi"), pv("c", "3Gi")}}, bind: "c"},
		{name: "fewer modes come before less space", s: situation{claim: claim(), volumes: []*corev1.PersistentVolume{pv("a", "2Gi", shared), pv("b", "3Gi")}}, bind: "b"},
		{name: "one that names it", s: situation{claim: claim(), volumes: []*corev1.PersistentVolume{pv("a", "2Gi"), pv("b", "9Gi", reserved("c", ""))}}, bind: "b"},
		{name: "none that names another", s: situation{claim: claim(), volumes: []*corev1.PersistentVolume{pv("b", "9Gi", reserved("other", ""))}}, phase: corev1.ClaimPending, reason: "FailedBinding"},
		{name: "no class and no volume", s: situation{claim: claim()}, phase: corev1.ClaimPending, reason: "FailedBinding"},
		{name: "the default class", s: situation{claim: claim(), preferred: "net"}, phase: corev1.ClaimPending, class: "net"},
		{name: "none is wanted", s: situation{claim: claim(of("")), preferred: "net"}, phase: corev1.ClaimPending, reason: "FailedBinding"},
		{name: "an unknown class", s: situation{claim: claim(of("net"))}, phase: corev1.ClaimPending, reason: "ProvisioningFailed"},
		{name: "a provisioner", s: situation{claim: claim(of("net")), class: immediate}, phase: corev1.ClaimPending, reason: "ExternalProvisioning", prov: "example.com/disk"},
		{name: "no provisioner", s: situation{claim: claim(of("net")), class: none}, phase: corev1.ClaimPending, reason: "ProvisioningFailed"},
		{name: "waits for a pod", s: situation{claim: claim(of("net")), class: later, volumes: []*corev1.PersistentVolume{pv("a", "2Gi", ofNet)}}, phase: corev1.ClaimPending, reason: "WaitForFirstConsumer"},
		{name: "waits for a pod that is there", s: situation{claim: claim(of("net")), class: later, waiting: "p"}, phase: corev1.ClaimPending, reason: "WaitForPodScheduled"},
		{name: "what the scheduler chose", s: situation{claim: claim(of("net")), class: later, volumes: []*corev1.PersistentVolume{pv("a", "2Gi", ofNet, reserved("c", "c1"))}}, bind: "a"},
		{name: "a node was chosen", s: situation{claim: claim(of("net"), noted(volume.AnnSelectedNode, "n")), class: later}, phase: corev1.ClaimPending, reason: "ExternalProvisioning", prov: "example.com/disk"},
		{name: "asks for one", s: situation{claim: claim(named("a")), volumes: []*corev1.PersistentVolume{pv("a", "2Gi")}}, bind: "a"},
		{name: "asks for one that names it", s: situation{claim: claim(named("a")), volumes: []*corev1.PersistentVolume{pv("a", "1Gi", reserved("c", "c1"))}}, bind: "a"},
		{name: "asks for none", s: situation{claim: claim(named("a"))}, phase: corev1.ClaimPending},
		{name: "asks for a small one", s: situation{claim: claim(named("a")), volumes: []*corev1.PersistentVolume{pv("a", "1Gi")}}, phase: corev1.ClaimPending, reason: "VolumeMismatch"},
		{name: "asks for another's", s: situation{claim: claim(named("a")), volumes: []*corev1.PersistentVolume{pv("a", "2Gi", reserved("other", "o"))}}, phase: corev1.ClaimPending, reason: "FailedBinding"},
		{name: "is bound", s: situation{claim: claim(named("a"), bound), volumes: []*corev1.PersistentVolume{pv("a", "2Gi", reserved("c", "c1"))}}, bind: "a"},
		{name: "is bound to one that knows nothing of it", s: situation{claim: claim(named("a"), bound), volumes: []*corev1.PersistentVolume{pv("a", "2Gi")}}, bind: "a"},
		{name: "has lost its volume", s: situation{claim: claim(named("a"), bound)}, phase: corev1.ClaimLost, reason: "ClaimLost"},
		{name: "has lost its reference", s: situation{claim: claim(bound)}, phase: corev1.ClaimLost, reason: "ClaimLost"},
		{name: "is bound to another's", s: situation{claim: claim(named("a"), bound), volumes: []*corev1.PersistentVolume{pv("a", "2Gi", reserved("c", "before"))}}, phase: corev1.ClaimLost, reason: "ClaimMisbound"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := planClaim(tc.s)
			bind, reason := "", ""
			if p.bind != nil {
				bind = p.bind.Name
			}
			if p.note != nil {
				reason = p.note.reason
			}
			if diff := cmp.Diff([]any{tc.bind, tc.phase, tc.reason, tc.prov, tc.class}, []any{bind, p.phase, reason, p.provisioner, p.class}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPlanVolume(t *testing.T) {
	deletes := func(v *corev1.PersistentVolume) {
		v.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimDelete
	}
	recycles := func(v *corev1.PersistentVolume) {
		v.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRecycle
	}
	provisioned := func(v *corev1.PersistentVolume) { v.Annotations[volume.AnnDynamicallyProvisioned] = "example.com/disk" }
	for _, tc := range []struct {
		name   string
		v      *corev1.PersistentVolume
		claim  *corev1.PersistentVolumeClaim
		phase  corev1.PersistentVolumePhase
		unbind bool
		reason string
	}{
		{"free", pv("a", "1Gi"), nil, corev1.VolumeAvailable, false, ""},
		{"kept for a claim", pv("a", "1Gi", reserved("c", "")), nil, corev1.VolumeAvailable, false, ""},
		{"bound", pv("a", "1Gi", reserved("c", "c1")), claim(named("a")), corev1.VolumeBound, false, ""},
		{"being bound", pv("a", "1Gi", reserved("c", "c1")), claim(), corev1.VolumeAvailable, false, ""},
		{"its claim has another", pv("a", "1Gi", reserved("c", "c1")), claim(named("b")), corev1.VolumeAvailable, true, ""},
		{"its claim has another than was made", pv("a", "1Gi", reserved("c", "c1"), deletes, provisioned), claim(named("b")), corev1.VolumeReleased, false, ""},
		{"its claim has gone", pv("a", "1Gi", reserved("c", "c1")), nil, corev1.VolumeReleased, false, ""},
		{"its claim was made anew", pv("a", "1Gi", reserved("c", "before")), claim(named("a")), corev1.VolumeReleased, false, ""},
		{"to be deleted by its provisioner", pv("a", "1Gi", reserved("c", "x"), deletes, provisioned), nil, corev1.VolumeReleased, false, ""},
		{"to be deleted by nobody", pv("a", "1Gi", reserved("c", "x"), deletes), nil, corev1.VolumeFailed, false, "VolumeFailedDelete"},
		{"to be recycled", pv("a", "1Gi", reserved("c", "x"), recycles), nil, corev1.VolumeFailed, false, "VolumeFailedRecycle"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := planVolume(tc.v, tc.claim)
			reason := ""
			if p.note != nil {
				reason = p.note.reason
			}
			if diff := cmp.Diff([]any{tc.phase, tc.unbind, tc.reason}, []any{p.phase, p.unbind, reason}); diff != "" {
				t.Error(diff)
			}
		})
	}
}
