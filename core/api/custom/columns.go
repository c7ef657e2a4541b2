package custom

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/jsonpath"

	"github.com/gantryio/gantry/core/api"
)

// addColumns makes the table: the name, then what the definition says, or the age where it says nothing.
func addColumns(r *api.Resource, columns *[]apiextensions.CustomResourceColumnDefinition) error {
	list := *columns
	if len(list) == 0 {
		list = []apiextensions.CustomResourceColumnDefinition{{
			Name: "Age", Type: "date", JSONPath: ".metadata.creationTimestamp",
			Description: metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"],
		}}
	}
	r.Columns = []metav1.TableColumnDefinition{{
		Name: "Name", Type: "string", Format: "name", Description: metav1.ObjectMeta{}.SwaggerDoc()["name"],
	}}
	paths := make([]*jsonpath.JSONPath, len(list))
	for i := range list {
		c := &list[i]
		r.Columns = append(r.Columns, metav1.TableColumnDefinition{
			Name: c.Name, Type: c.Type, Format: c.Format, Description: c.Description, Priority: c.Priority,
		})
		var err error
		if paths[i], err = parsePath(c.Name, c.JSONPath); err != nil {
			return err
		}
	}
	r.Cells = func(obj api.Object) []any {
		cells := make([]any, 1, len(list)+1)
		cells[0] = obj.GetName()
		for i := range list {
			cells = append(cells, cell(paths[i], list[i].Type, obj.(*unstructured.Unstructured).Object))
		}
		return cells
	}
	return nil
}

// addFields makes the fields selectable that the definition says, and returns their paths.
func addFields(r *api.Resource, fields *[]apiextensions.SelectableField) ([]string, error) {
	names := make([]string, 0, len(*fields))
	for _, f := range *fields {
		path, err := parsePath(f.JSONPath, f.JSONPath)
		if err != nil {
			return nil, err
		}
		name := strings.TrimPrefix(f.JSONPath, ".")
		names = append(names, name)
		r.Fields[name] = func(obj api.Object) string {
			text := cell(path, "string", obj.(*unstructured.Unstructured).Object)
			if text == nil {
				return ""
			}
			return text.(string)
		}
	}
	return names, nil
}

func parsePath(name, text string) (*jsonpath.JSONPath, error) {
	path := jsonpath.New(name).AllowMissingKeys(true)
	if err := path.Parse("{" + text + "}"); err != nil {
		return nil, fmt.Errorf("parse the path %q: %w", text, err)
	}
	return path, nil
}

// cell is what a path finds, as the column's type; nil when it finds nothing of that type.
func cell(path *jsonpath.JSONPath, kind string, content map[string]any) any {
	found, err := path.FindResults(content)
	if err != nil || len(found) == 0 || len(found[0]) == 0 {
		return nil
	}
	if kind == "string" {
		var text bytes.Buffer
		if err := path.PrintResults(&text, found[0]); err != nil {
			return nil
		}
		return text.String()
	}
	switch value := found[0][0].Interface().(type) {
	case int64:
		switch kind {
		case "integer":
			return value
		case "number":
			return float64(value)
		}
	case float64:
		switch kind {
		case "integer":
			return int64(value)
		case "number":
			return value
		}
	case bool:
		if kind == "boolean" {
			return value
		}
	case string:
		if kind == "date" {
			return age(value)
		}
	}
	return nil
}

func age(text string) string {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return "<invalid>"
	}
	return api.Age(metav1.NewTime(at))
}

// scaleHooks read and write the counts where the definition says they are.
func scaleHooks(s *apiextensions.CustomResourceSubresourceScale) (get func(api.Object) *autoscalingv1.Scale, set func(api.Object, int32)) {
	count := func(obj api.Object, path string) int32 {
		n, _, _ := unstructured.NestedInt64(obj.(*unstructured.Unstructured).Object, steps(path)...)
		return int32(n)
	}
	get = func(obj api.Object) *autoscalingv1.Scale {
		out := &autoscalingv1.Scale{
			TypeMeta: metav1.TypeMeta{APIVersion: "autoscaling/v1", Kind: "Scale"},
			ObjectMeta: metav1.ObjectMeta{
				Name: obj.GetName(), Namespace: obj.GetNamespace(), UID: obj.GetUID(),
				ResourceVersion: obj.GetResourceVersion(), CreationTimestamp: obj.GetCreationTimestamp(),
			},
			Spec:   autoscalingv1.ScaleSpec{Replicas: count(obj, s.SpecReplicasPath)},
			Status: autoscalingv1.ScaleStatus{Replicas: count(obj, s.StatusReplicasPath)},
		}
		if s.LabelSelectorPath != nil && *s.LabelSelectorPath != "" {
			out.Status.Selector, _, _ = unstructured.NestedString(obj.(*unstructured.Unstructured).Object, steps(*s.LabelSelectorPath)...)
		}
		return out
	}
	set = func(obj api.Object, replicas int32) {
		// It fails only where the parent is no object, which the schema refuses.
		_ = unstructured.SetNestedField(obj.(*unstructured.Unstructured).Object, int64(replicas), steps(s.SpecReplicasPath)...)
	}
	return get, set
}
