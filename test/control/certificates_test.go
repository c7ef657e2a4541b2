package control

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"slices"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/gantryio/gantry/core/apiserver"
)

// as is client-go's own client of the server, as a user.
func (c *cluster) as(name string, groups ...string) kubernetes.Interface {
	c.t.Helper()
	out, err := kubernetes.NewForConfig(&rest.Config{
		Host: "https://in-process.invalid", QPS: -1, Transport: apiserver.Loopback{Server: c.server, User: &user.DefaultInfo{Name: name, UID: "u-1", Groups: groups}},
	})
	c.must(err)
	return out
}

func certificateRequest(t *testing.T, name, signer string, subject pkix.Name, usages ...certificatesv1.KeyUsage) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject}, key)
	if err != nil {
		t.Fatal(err)
	}
	return &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), SignerName: signer, Usages: usages,
			ExpirationSeconds: new(int32(3600)), Username: "somebody-else",
		},
	}
}

// TestCertificateRequests has requests approved, denied, refused and signed.
func TestCertificateRequests(t *testing.T) {
	c := start(t)
	admin := c.as("admin", user.SystemPrivilegedGroup).CertificatesV1().CertificateSigningRequests()
	client := []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth, certificatesv1.UsageDigitalSignature}
	jane := certificateRequest(t, "jane", certificatesv1.KubeAPIServerClientSignerName, pkix.Name{CommonName: "jane", Organization: []string{"dev"}}, client...)
	made, err := admin.Create(c.ctx, jane, metav1.CreateOptions{})
	c.must(err)
	if made.Spec.Username != "admin" || made.Spec.UID != "u-1" || !slices.Equal(made.Spec.Groups, []string{user.SystemPrivilegedGroup}) {
		t.Errorf("made by %v", made.Spec)
	}
	made.Spec.SignerName = "example.com/other"
	if made, err = admin.Update(c.ctx, made, metav1.UpdateOptions{}); err != nil || made.Spec.SignerName != jane.Spec.SignerName {
		t.Errorf("the specification has changed: %v %v", made.Spec, err)
	}
	decide := func(kind certificatesv1.RequestConditionType) *certificatesv1.CertificateSigningRequest {
		out := made.DeepCopy()
		out.Status.Conditions = append(out.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{Type: kind, Status: corev1.ConditionTrue, Reason: "Test"})
		return out
	}
	if _, err := admin.UpdateStatus(c.ctx, decide(certificatesv1.CertificateApproved), metav1.UpdateOptions{}); err == nil {
		t.Error("approved through the status")
	}
	approved, err := admin.UpdateApproval(c.ctx, "jane", decide(certificatesv1.CertificateApproved), metav1.UpdateOptions{})
	c.must(err)
	if at := approved.Status.Conditions[0]; at.LastUpdateTime.IsZero() || at.LastTransitionTime.IsZero() {
		t.Errorf("a decision without a time: %v", at)
	}
	until(c, &certificatesv1.CertificateSigningRequestList{}, "", func(l *certificatesv1.CertificateSigningRequestList) string {
		return want("issued", len(l.Items[0].Status.Certificate) > 0, true)
	})
	signed, err := admin.Get(c.ctx, "jane", metav1.GetOptions{})
	c.must(err)
	block, _ := pem.Decode(signed.Status.Certificate)
	cert, err := x509.ParseCertificate(block.Bytes)
	c.must(err)
	if cert.Subject.CommonName != "jane" || time.Until(cert.NotAfter) > time.Hour || !slices.Equal(cert.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) {
		t.Errorf("certificate %v", cert)
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: c.authority.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
	signed.Status.Certificate = bytes.Repeat(signed.Status.Certificate, 2)
	if _, err := admin.UpdateStatus(c.ctx, signed, metav1.UpdateOptions{}); err == nil {
		t.Error("the certificate was replaced")
	}

	root := certificateRequest(t, "root", certificatesv1.KubeAPIServerClientSignerName, pkix.Name{CommonName: "root", Organization: []string{user.SystemPrivilegedGroup}}, client...)
	if _, err := admin.Create(c.ctx, root, metav1.CreateOptions{}); err == nil {
		t.Error("anybody may become root")
	}
	// The pretended authorizer lets members of one group do everything, and so approve themselves.
	node := certificateRequest(t, "node", certificatesv1.KubeAPIServerClientKubeletSignerName, pkix.Name{CommonName: "system:node:a", Organization: []string{"system:nodes"}}, client...)
	_, err = admin.Create(c.ctx, node, metav1.CreateOptions{})
	c.must(err)
	until(c, &certificatesv1.CertificateSigningRequestList{}, "", func(l *certificatesv1.CertificateSigningRequestList) string {
		i := slices.IndexFunc(l.Items, func(r certificatesv1.CertificateSigningRequest) bool { return r.Name == "node" })
		return want("issued", len(l.Items[i].Status.Certificate) > 0 && l.Items[i].Status.Conditions[0].Reason == "AutoApproved", true)
	})
}
