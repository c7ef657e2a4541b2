package apiserver

import (
	"encoding/json"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/fastjson"
)

// patchPart runs a merge patch on those fields of an object, at its first level, that the patch names; the rest of the result is a copy of
// current. A report of a pod's status leaves its spec and metadata alone, which are most of it. It returns false where the whole
// object has to be patched: also for every patch that fails, which is to fail with the words for the whole.
func patchPart(p *api.Patch, r *api.Resource, current api.Object, warn func(string)) (api.Object, bool) {
	if p.Type != types.StrategicMergePatchType && p.Type != types.MergePatchType || r.Custom() {
		return nil, false
	}
	var names map[string]json.RawMessage
	if json.Unmarshal(p.Data, &names) != nil {
		return nil, false
	}
	for name := range names {
		if strings.HasPrefix(name, "$") {
			return nil, false // a directive is about all that stands beside it
		}
	}
	fields := firstLevel(reflect.TypeOf(current).Elem())
	if fields == nil {
		return nil, false
	}
	part := r.New()
	to, from := reflect.ValueOf(part).Elem(), reflect.ValueOf(current).Elem()
	for i, name := range fields {
		if _, named := names[name]; named || name == "" {
			to.Field(i).Set(from.Field(i))
		}
	}
	original, err := fastjson.Append(nil, part)
	if err != nil {
		return nil, false
	}
	patched, err := runPatch(p, original, r.New())
	if err != nil {
		return nil, false
	}
	var warnings []string
	collect := func(text string) { warnings = append(warnings, text) }
	if warn == nil {
		collect = nil
	}
	obj := r.New()
	if unmarshalJSON(patched, obj, targetOf(r), p.Validation, collect) != nil {
		return nil, false
	}
	to, from = reflect.ValueOf(obj).Elem(), reflect.ValueOf(current.DeepCopyObject()).Elem()
	for i, name := range fields {
		if _, named := names[name]; !named && name != "" {
			to.Field(i).Set(from.Field(i))
		}
	}
	for _, text := range warnings {
		warn(text)
	}
	return obj, true
}

// firstLevel returns the names of a struct's fields in JSON, "" for its kind and version; nil for one whose fields do not all have one.
func firstLevel(t reflect.Type) []string {
	out := make([]string, t.NumField())
	for i := range out {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if out[i] = name; (name == "") != (f.Name == "TypeMeta") || !f.IsExported() || name == "-" {
			return nil
		}
	}
	return out
}
