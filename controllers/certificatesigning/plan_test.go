package certificatesigning

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var now = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func csr(t *testing.T, name string, dns ...string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: name, Organization: []string{"system:nodes"}}, DNSNames: dns,
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func TestPlan(t *testing.T) {
	client := []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth, certificatesv1.UsageDigitalSignature}
	serving := []certificatesv1.KeyUsage{certificatesv1.UsageServerAuth, certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment}
	made := func(signer string, usages []certificatesv1.KeyUsage, request []byte, conditions ...certificatesv1.RequestConditionType) *request {
		r := &certificatesv1.CertificateSigningRequest{
			ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(now.Add(-time.Minute))},
			Spec:       certificatesv1.CertificateSigningRequestSpec{SignerName: signer, Usages: usages, Request: request, Username: "system:node:a"},
		}
		for _, c := range conditions {
			r.Status.Conditions = append(r.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
				Type: c, Status: corev1.ConditionTrue, LastUpdateTime: metav1.NewTime(now.Add(-30 * time.Minute)),
			})
		}
		return r
	}
	at := func(r *request, age time.Duration) *request {
		r.CreationTimestamp = metav1.NewTime(now.Add(-age))
		for i := range r.Status.Conditions {
			r.Status.Conditions[i].LastUpdateTime = r.CreationTimestamp
		}
		return r
	}
	issued := func(r *request) *request {
		r.Status.Certificate = []byte("something")
		return r
	}
	node, strange := csr(t, "system:node:a"), csr(t, "a")
	const apiClient, agentClient, agentServing = certificatesv1.KubeAPIServerClientSignerName, certificatesv1.KubeAPIServerClientKubeletSignerName, certificatesv1.KubeletServingSignerName
	const approved, denied, failed = certificatesv1.CertificateApproved, certificatesv1.CertificateDenied, certificatesv1.CertificateFailed
	day, half := 24*time.Hour-time.Minute, 30*time.Minute
	for _, tc := range []struct {
		name string
		r    *request
		want step
		fail string
	}{
		{"somebody's client waits", made(apiClient, client, node), step{wait: day}, ""},
		{"somebody's client is approved", made(apiClient, client, strange, approved), step{wait: day - 29*time.Minute, sign: true}, ""},
		{"a client that serves", made(apiClient, serving, strange, approved), step{wait: day - 29*time.Minute}, "invalid usage for client certificate: server auth"},
		{"a node's own", made(agentClient, client, node), step{wait: day, review: []string{"selfnodeclient", "nodeclient"}}, ""},
		{"another node's", made(agentClient, client, csr(t, "system:node:b")), step{wait: day, review: []string{"nodeclient"}}, ""},
		{"no node", made(agentClient, client, strange), step{wait: day}, ""},
		{"no node, approved", made(agentClient, client, strange, approved), step{wait: day - 29*time.Minute}, "subject common name does not begin with system:node:"},
		{"a node with a name", made(agentClient, client, csr(t, "system:node:a", "a"), approved), step{wait: day - 29*time.Minute}, "DNS subjectAltNames are not allowed"},
		{"a node's port waits", made(agentServing, serving, csr(t, "system:node:a", "a")), step{wait: day}, ""},
		{"a node's port", made(agentServing, serving, csr(t, "system:node:a", "a"), approved), step{wait: day - 29*time.Minute, sign: true}, ""},
		{"a port without a name", made(agentServing, serving, node, approved), step{wait: day - 29*time.Minute}, "DNS or IP subjectAltName is required"},
		{"another signer's", made("example.com/s", client, node, approved), step{wait: day - 29*time.Minute}, ""},
		{"denied", made(apiClient, client, node, denied), step{wait: half}, ""},
		{"failed", made(apiClient, client, node, approved, failed), step{wait: half}, ""},
		{"issued", issued(made(apiClient, client, node, approved)), step{wait: half}, ""},
		{"long pending", at(made(apiClient, client, node), 24*time.Hour), step{remove: true}, ""},
		{"long approved", at(made("example.com/s", client, node, approved), 24*time.Hour), step{remove: true}, ""},
		{"long issued", at(issued(made(apiClient, client, node, approved)), time.Hour), step{remove: true}, ""},
		{"long denied", at(made(apiClient, client, node, denied), time.Hour), step{remove: true}, ""},
	} {
		got := plan(tc.r, now)
		if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(step{}), cmpopts.IgnoreFields(step{}, "fail")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
		if why := ""; got.fail != nil || tc.fail != "" {
			if got.fail != nil {
				why = got.fail.Error()
			}
			if why != tc.fail {
				t.Errorf("%s: %q, want %q", tc.name, why, tc.fail)
			}
		}
	}
	for seconds, want := range map[int32]time.Duration{600: 10 * time.Minute, 3600: time.Hour, 1 << 30: longest, 1: shortest} {
		if got := life(&request{Spec: certificatesv1.CertificateSigningRequestSpec{ExpirationSeconds: &seconds}}); got != want {
			t.Errorf("%d s: %v, want %v", seconds, got, want)
		}
	}
}
