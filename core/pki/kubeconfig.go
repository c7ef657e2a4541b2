package pki

import (
	"fmt"

	"sigs.k8s.io/yaml"
)

// Kubeconfig returns a kubectl configuration with one cluster and one user.
func (a *Authority) Kubeconfig(server, userName string, client *Pair) ([]byte, error) {
	type named map[string]any
	data, err := yaml.Marshal(named{
		"apiVersion": "v1", "kind": "Config", "current-context": "gantry",
		"clusters": []named{{"name": "gantry", "cluster": named{"server": server, "certificate-authority-data": a.CertPEM}}},
		"users":    []named{{"name": userName, "user": named{"client-certificate-data": client.CertPEM, "client-key-data": client.KeyPEM}}},
		"contexts": []named{{"name": "gantry", "context": named{"cluster": "gantry", "user": userName}}},
	})
	if err != nil {
		return nil, fmt.Errorf("marshal kubeconfig: %w", err)
	}
	return data, nil
}
