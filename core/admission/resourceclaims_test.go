package admission

import (
	"context"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/gantryio/gantry/core/api"
)

// permissions allow what they hold, written as verb, resource and name.
type permissions map[string]bool

func (p permissions) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	resource := a.GetResource()
	if a.GetSubresource() != "" {
		resource += "/" + a.GetSubresource()
	}
	if p[a.GetVerb()+" "+resource+" "+a.GetName()] {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionDeny, "", nil
}

func TestAdminAccess(t *testing.T) {
	p := ResourceClaims{Objects: reader(t,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "plain"}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "admin", Labels: map[string]string{"resource.kubernetes.io/admin-access": "true"}}},
	)}
	spec := func(admin bool) resourcev1.ResourceClaimSpec {
		return resourcev1.ResourceClaimSpec{Devices: resourcev1.DeviceClaim{Requests: []resourcev1.DeviceRequest{{Name: "a", Exactly: &resourcev1.ExactDeviceRequest{AdminAccess: &admin}}}}}
	}
	const path = "spec.devices.requests[0].adminAccess"
	for _, test := range []struct {
		name, namespace string
		admin           bool
		code            int32
	}{{"not asked for", "plain", false, 0}, {"granted", "admin", true, 0}, {"refused", "plain", true, 422}} {
		meta := metav1.ObjectMeta{Namespace: test.namespace, Name: "c"}
		for _, obj := range []api.Object{
			&resourcev1.ResourceClaim{ObjectMeta: meta, Spec: spec(test.admin)},
			&resourcev1.ResourceClaimTemplate{ObjectMeta: meta, Spec: resourcev1.ResourceClaimTemplateSpec{Spec: spec(test.admin)}},
		} {
			refused(t, test.name, p.Validate(t.Context(), attributes(Create, nil, obj, nil)), test.code, path)
		}
	}
}

func TestClaimStatusPermissions(t *testing.T) {
	here := &user.DefaultInfo{Name: "system:serviceaccount:x:driver", Extra: map[string][]string{"authentication.kubernetes.io/node-name": {"n"}}}
	there := &user.DefaultInfo{Name: "system:serviceaccount:x:driver", Extra: map[string][]string{"authentication.kubernetes.io/node-name": {"m"}}}
	pending := &resourcev1.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "c"}}
	allocated := pending.DeepCopy()
	allocated.Status.Allocation = &resourcev1.AllocationResult{NodeSelector: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: "In", Values: []string{"n"}}},
	}}}}
	reported := allocated.DeepCopy()
	reported.Status.Devices = []resourcev1.AllocatedDeviceStatus{{Driver: "x.org", Pool: "p", Device: "d"}}
	const binding, associated, arbitrary = "update resourceclaims/binding ", "associated-node:update resourceclaims/driver x.org", "arbitrary-node:update resourceclaims/driver x.org"
	for _, test := range []struct {
		name     string
		who      user.Info
		may      string
		old, now *resourcev1.ResourceClaim
		code     int32
		part     string
	}{
		{"bound", here, binding, pending, allocated, 0, ""},
		{"bound without permission", here, associated, pending, allocated, 422, "status.allocation"},
		{"reported on the node", here, associated, allocated, reported, 0, ""},
		{"reported from another node", there, associated, allocated, reported, 422, "status.devices"},
		{"reported for any node", there, arbitrary, allocated, reported, 0, ""},
		{"withdrawn", there, binding, reported, allocated, 422, "status.devices"},
		{"nothing new", there, "", reported, reported, 0, ""},
	} {
		a := attributes(Update, test.who, test.now.DeepCopy(), test.old)
		a.Subresource = "status"
		refused(t, test.name, ResourceClaims{May: permissions{test.may: true}}.Validate(t.Context(), a), test.code, test.part)
	}
}

func TestSigners(t *testing.T) {
	who := &user.DefaultInfo{Name: "u"}
	bundle := &certificatesv1.ClusterTrustBundle{ObjectMeta: metav1.ObjectMeta{Name: "x.org:s:a"}, Spec: certificatesv1.ClusterTrustBundleSpec{SignerName: "x.org/s"}}
	held := bundle.DeepCopy()
	held.Finalizers = []string{"a/b"}
	other := bundle.DeepCopy()
	other.Spec.TrustBundle = "x"
	request := &certificatesv1.PodCertificateRequest{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "r"}, Spec: certificatesv1.PodCertificateRequestSpec{SignerName: "x.org/s"}}
	signed := request.DeepCopy()
	signed.Status.CertificateChain = "x"
	for _, test := range []struct {
		name, may string
		op        Operation
		now, old  api.Object
		code      int32
	}{
		{"attested", "attest signers x.org/s", Create, bundle, nil, 0},
		{"attested for all of a domain", "attest signers x.org/*", Create, bundle, nil, 0},
		{"not attested", "sign signers x.org/s", Create, bundle, nil, 403},
		{"of nobody", "", Create, &certificatesv1.ClusterTrustBundle{}, nil, 0},
		{"held", "", Update, held, bundle, 0},
		{"changed", "", Update, other, bundle, 403},
		{"signed", "sign signers x.org/s", Update, signed, request, 0},
		{"not signed", "", Update, request, request, 0},
		{"signed without permission", "", Update, signed, request, 422},
	} {
		a := attributes(test.op, who, test.now, test.old)
		if test.op == Update {
			a.Subresource = "status"
		}
		refused(t, test.name, CertificateRequests{May: permissions{test.may: true}}.Validate(t.Context(), a), test.code, "")
	}
}
