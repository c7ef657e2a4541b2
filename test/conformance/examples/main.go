// Command examples prints the objects that Kubernetes' own test of its storage keeps of every kind: small ones that pass
// validation, as a JSON object by group, version and resource, and the definitions of the custom ones among them.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/kubernetes/test/integration/etcd"
)

// example is an object, and what has to be there before it.
type example struct {
	Group, Version, Resource string
	Object                   json.RawMessage
	Before                   []example `json:",omitempty"`
}

func main() {
	out := struct {
		Definitions []*apiextensionsv1.CustomResourceDefinition
		Examples    []example
	}{Definitions: etcd.GetCustomResourceDefinitionData()}
	for gvr, data := range etcd.GetEtcdStorageData() {
		e := example{Group: gvr.Group, Version: gvr.Version, Resource: gvr.Resource, Object: json.RawMessage(data.Stub)}
		for _, p := range data.Prerequisites {
			e.Before = append(e.Before, example{
				Group: p.GvrData.Group, Version: p.GvrData.Version, Resource: p.GvrData.Resource, Object: json.RawMessage(p.Stub),
			})
		}
		out.Examples = append(out.Examples, e)
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
