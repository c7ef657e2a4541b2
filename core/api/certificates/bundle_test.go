package certificates

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func refused(errs fieldErrors) []string {
	out := []string{}
	for _, err := range errs {
		out = append(out, fmt.Sprintf("%s: %s", err.Field, err.Type))
	}
	slices.Sort(out)
	return out
}

func newKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func certificate(t *testing.T, template x509.Certificate, key *ecdsa.PrivateKey) (string, *x509.Certificate) {
	t.Helper()
	template.SerialNumber = big.NewInt(1)
	data, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(data)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: data})), cert
}

func TestTrustBundle(t *testing.T) {
	key := newKey(t, elliptic.P256())
	anchor, _ := certificate(t, x509.Certificate{IsCA: true, BasicConstraintsValid: true}, key)
	leaf, _ := certificate(t, x509.Certificate{}, key)
	const name, anchors = "metadata.name: Invalid value", "spec.trustBundle: Invalid value"
	for _, test := range []struct {
		name                  string
		called, signer, trust string
		want                  []string
	}{
		{"good", "a", "", anchor, []string{}},
		{"of a signer", "x.org:s:a", "x.org/s", anchor, []string{}},
		{"of a signer, called otherwise", "a", "x.org/s", anchor, []string{name}},
		{"of nobody, called like a signer's", "x.org:s:a", "", anchor, []string{name}},
		{"bad signer", "x:a", "x", anchor, []string{"spec.signerName: Invalid value"}},
		{"empty", "a", "", "", []string{anchors}},
		{"twice", "a", "", anchor + anchor, []string{anchors}},
		{"no authority", "a", "", anchor + leaf, []string{anchors}},
		{"a key", "a", "", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY"})), []string{anchors}},
		{"too long", "a", "", strings.Repeat("x", maxTrustBundle+1), []string{"spec.trustBundle: Too long"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := &trustBundle{ObjectMeta: metav1.ObjectMeta{Name: test.called}, Spec: certificatesv1.ClusterTrustBundleSpec{SignerName: test.signer, TrustBundle: test.trust}}
			if diff := cmp.Diff(test.want, refused(validateTrustBundle(b, nil))); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
	old := &trustBundle{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Spec: certificatesv1.ClusterTrustBundleSpec{TrustBundle: leaf}}
	if got := refused(validateTrustBundle(old.DeepCopy(), old)); len(got) > 0 {
		t.Errorf("what was there before is refused: %v", got)
	}
	other := old.DeepCopy()
	other.Name, other.Spec.SignerName = "x.org:s:a", "x.org/s"
	if diff := cmp.Diff([]string{"spec.signerName: Invalid value"}, refused(validateTrustBundle(other, old))); diff != "" {
		t.Errorf("another signer (-want +got):\n%s", diff)
	}
}

func stub(t *testing.T, key any) []byte {
	t.Helper()
	data, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func newPodRequest(csr []byte) *podRequest {
	r := &podRequest{ObjectMeta: metav1.ObjectMeta{Name: "r", Namespace: "a"}, Spec: certificatesv1.PodCertificateRequestSpec{
		SignerName: "x.org/s", PodName: "p", PodUID: "1", ServiceAccountName: "default", ServiceAccountUID: "2", NodeName: "n", NodeUID: "3", StubPKCS10Request: csr,
	}}
	PodCertificateRequests.Default(r)
	return r
}

func TestPodRequest(t *testing.T) {
	good := stub(t, newKey(t, elliptic.P256()))
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		change func(*podRequest)
		want   []string
	}{
		{"good", func(*podRequest) {}, []string{}},
		{"nothing", func(r *podRequest) { r.Spec = certificatesv1.PodCertificateRequestSpec{} }, []string{
			"spec.maxExpirationSeconds: Required value", "spec.nodeName: Invalid value", "spec.nodeUID: Invalid value", "spec.podName: Invalid value", "spec.podUID: Invalid value",
			"spec.serviceAccountName: Invalid value", "spec.serviceAccountUID: Invalid value", "spec.signerName: Required value",
		}},
		{"no key", func(r *podRequest) { r.Spec.StubPKCS10Request = nil }, []string{"spec: Invalid value"}},
		{"bad key", func(r *podRequest) { r.Spec.StubPKCS10Request = []byte("x") }, []string{"spec.stubPKCS10Request: Invalid value"}},
		{"weak key", func(r *podRequest) { r.Spec.StubPKCS10Request = stub(t, weak) }, []string{"spec.stubPKCS10Request: Invalid value"}},
		{"weak curve", func(r *podRequest) { r.Spec.StubPKCS10Request = stub(t, newKey(t, elliptic.P224())) }, []string{"spec.stubPKCS10Request: Invalid value"}},
		{"long", func(r *podRequest) { r.Spec.MaxExpirationSeconds = new(int32(90 * 24 * 3600)) }, []string{}},
		{"too long", func(r *podRequest) { r.Spec.MaxExpirationSeconds = new(int32(92 * 24 * 3600)) }, []string{"spec.maxExpirationSeconds: Invalid value"}},
		{"too long for Kubernetes' signers", func(r *podRequest) {
			r.Spec.SignerName, r.Spec.MaxExpirationSeconds = "a.kubernetes.io/b", new(int32(90001))
		}, []string{"spec.maxExpirationSeconds: Invalid value"}},
		{"annotations", func(r *podRequest) { r.Spec.UnverifiedUserAnnotations = map[string]string{"plain": "x"} }, []string{"spec.unverifiedUserAnnotations: Invalid value"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newPodRequest(good)
			test.change(r)
			if diff := cmp.Diff(test.want, refused(validatePodRequest(r, nil))); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
	changed := newPodRequest(good)
	changed.Spec.PodName = "q"
	if diff := cmp.Diff([]string{"spec: Invalid value"}, refused(validatePodRequest(changed, newPodRequest(good)))); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
}

func TestPodRequestStatus(t *testing.T) {
	key := newKey(t, elliptic.P256())
	old := newPodRequest(stub(t, key))
	now := time.Now().Truncate(time.Second).UTC()
	chain, cert := certificate(t, x509.Certificate{NotBefore: now, NotAfter: now.Add(2 * time.Hour)}, key)
	other, _ := certificate(t, x509.Certificate{NotBefore: now, NotAfter: now.Add(2 * time.Hour)}, newKey(t, elliptic.P256()))
	short, _ := certificate(t, x509.Certificate{NotBefore: now, NotAfter: now.Add(time.Minute)}, key)
	condition := func(kind string) []metav1.Condition {
		return []metav1.Condition{{Type: kind, Status: metav1.ConditionTrue, Reason: "Because", LastTransitionTime: metav1.NewTime(now)}}
	}
	at := func(t time.Time) *metav1.Time { return new(metav1.NewTime(t)) }
	good := certificatesv1.PodCertificateRequestStatus{
		Conditions: condition(issued), CertificateChain: chain, NotBefore: at(cert.NotBefore), NotAfter: at(cert.NotAfter), BeginRefreshAt: at(now.Add(time.Hour)),
	}
	const refused1 = "status: Invalid value"
	for _, test := range []struct {
		name   string
		change func(s *certificatesv1.PodCertificateRequestStatus)
		want   []string
	}{
		{"issued", func(*certificatesv1.PodCertificateRequestStatus) {}, []string{}},
		{"with more than a denial", func(s *certificatesv1.PodCertificateRequestStatus) { s.Conditions = condition(denied) }, []string{refused1}},
		{"without decision", func(s *certificatesv1.PodCertificateRequestStatus) { s.Conditions = nil }, []string{refused1}},
		{"odd condition", func(s *certificatesv1.PodCertificateRequestStatus) { s.Conditions = condition("Odd") }, []string{"status.conditions[0].type: Unsupported value"}},
		{"two conditions", func(s *certificatesv1.PodCertificateRequestStatus) {
			s.Conditions = append(condition(issued), condition(failed)...)
		}, []string{"status.conditions[1].type: Invalid value"}},
		{"no chain", func(s *certificatesv1.PodCertificateRequestStatus) { s.CertificateChain = "" }, []string{"status.certificateChain: Invalid value"}},
		{"another key", func(s *certificatesv1.PodCertificateRequestStatus) { s.CertificateChain = other }, []string{"status.certificateChain: Invalid value"}},
		{"short-lived", func(s *certificatesv1.PodCertificateRequestStatus) {
			s.CertificateChain, s.NotAfter = short, at(now.Add(time.Minute))
		}, []string{"status.certificateChain: Invalid value"}},
		{"no times", func(s *certificatesv1.PodCertificateRequestStatus) {
			s.NotBefore, s.NotAfter, s.BeginRefreshAt = nil, nil, nil
		}, []string{
			"status.beginRefreshAt: Required value", "status.notAfter: Required value", "status.notBefore: Required value",
		}},
		{"refreshed late", func(s *certificatesv1.PodCertificateRequestStatus) { s.BeginRefreshAt = at(cert.NotAfter) }, []string{"status.beginRefreshAt: Invalid value"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := old.DeepCopy()
			r.Status = *good.DeepCopy()
			test.change(&r.Status)
			if diff := cmp.Diff(test.want, refused(validatePodRequestStatus(r, old))); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
	done := old.DeepCopy()
	done.Status.Conditions = condition(denied)
	if got := refused(validatePodRequestStatus(done, old)); len(got) > 0 {
		t.Errorf("a denial is refused: %v", got)
	}
	if got := podRequestState(done); got != "Denied" {
		t.Errorf("state %q", got)
	}
	if diff := cmp.Diff([]string{refused1}, refused(validatePodRequestStatus(old.DeepCopy(), done))); diff != "" {
		t.Errorf("after the decision (-want +got):\n%s", diff)
	}
}
