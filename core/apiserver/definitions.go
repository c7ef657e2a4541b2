package apiserver

import (
	"io"
	"net/http"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Before kubectl says that a kind is unknown, it asks whether a custom resource definition declares it. A server
// without them has to answer that there are none: at "not found", kubectl complains of that instead.
var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

const definitionsPath = "apis/apiextensions.k8s.io/v1/customresourcedefinitions"

func serveNoDefinitions(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"kind":"CustomResourceDefinitionList","apiVersion":"apiextensions.k8s.io/v1","metadata":{"resourceVersion":"1"},"items":[]}`+"\n")
}
