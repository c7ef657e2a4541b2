package apiserver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/fastjson"
)

// maxBody is the size of the largest request body, as upstream's.
const maxBody = 3 << 20

const (
	typeJSON     = "application/json"
	typeYAML     = "application/yaml"
	typeProtobuf = "application/vnd.kubernetes.protobuf"
)

func fieldValidation(text string) api.FieldValidation {
	if text == "" {
		return api.ValidationWarn
	}
	return api.FieldValidation(text)
}

func readBody(req *http.Request) ([]byte, error) {
	if req.ContentLength > maxBody {
		return nil, errTooLarge
	}
	if b, ok := req.Body.(interface{ Whole() ([]byte, bool) }); ok && req.ContentLength > 0 { // of core/h2
		if data, ok := b.Whole(); ok {
			return data, nil
		}
	}
	if req.ContentLength >= 0 {
		return readSized(req.Body, int(req.ContentLength))
	}
	var buf bytes.Buffer
	if _, err := buf.ReadFrom(io.LimitReader(req.Body, maxBody+1)); err != nil {
		return nil, errBody(err)
	}
	if buf.Len() > maxBody {
		return nil, errTooLarge
	}
	return buf.Bytes(), nil
}

// readSized takes memory for what has come, not for what was announced: twice as much and 64 KiB at most.
func readSized(from io.Reader, size int) ([]byte, error) {
	const begin = 64 << 10
	data := make([]byte, 0, min(size, begin))
	for {
		n, err := io.ReadFull(from, data[len(data):cap(data)])
		if data = data[:len(data)+n]; err != nil {
			return nil, errBody(err)
		}
		if len(data) == size {
			return data, nil
		}
		more := make([]byte, len(data), min(size, 2*len(data)))
		copy(more, data)
		data = more
	}
}

var errTooLarge = apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d", maxBody))

// contentType is the media type of the body; JSON when none is given.
func contentType(req *http.Request) string {
	text := req.Header.Get("Content-Type")
	if text == "" || text == typeJSON {
		return typeJSON
	}
	mediaType, _, err := mime.ParseMediaType(text)
	if err != nil {
		return text
	}
	return mediaType
}

// target is what a body is decoded as.
type target struct {
	gvk schema.GroupVersionKind
	// prune drops what the schema of an object without a Go type does not know.
	prune func(obj api.Object) (unknown []string)
}

func targetOf(r *api.Resource) target { return target{r.GroupVersionKind(), r.Prune} }

// decodeBody reads a body of any served format into obj, whose kind must be the target's if the body tells one.
func decodeBody(mediaType string, data []byte, obj runtime.Object, t target, strict api.FieldValidation, warn func(string)) error {
	switch mediaType {
	case typeProtobuf:
		if !api.HasProtobuf(obj) {
			return errUnknownFormat(typeJSON, typeYAML, typeCBOR)
		}
		return decodeProtobuf(data, obj, t.gvk)
	case typeYAML, "application/x-yaml", "text/yaml":
		var err error
		if data, err = toJSON(data, strict, warn); err != nil {
			return err
		}
	case typeCBOR:
		var err error
		if data, err = fromCBOR(data); err != nil {
			return err
		}
	case typeJSON:
	default:
		return errUnknownFormat(typeJSON, typeYAML, typeProtobuf, typeCBOR)
	}
	return decodeJSON(data, obj, t, strict, warn)
}

func errUnknownFormat(accepted ...string) error {
	return apierrors.NewGenericServerResponse(http.StatusUnsupportedMediaType, "", schema.GroupResource{}, "",
		"the body of the request was in an unknown format - accepted media types include: "+strings.Join(accepted, ", "), 0, false)
}

func decodeProtobuf(data []byte, obj runtime.Object, gvk schema.GroupVersionKind) error {
	raw, ok := bytes.CutPrefix(data, api.ProtobufPrefix)
	if !ok {
		return apierrors.NewBadRequest("provided data does not appear to be a protobuf message, expected prefix " + fmt.Sprintf("%q", api.ProtobufPrefix))
	}
	var u runtime.Unknown
	if err := u.Unmarshal(raw); err != nil {
		return errCannotDecode(gvk, err)
	}
	if err := checkKind(schema.FromAPIVersionAndKind(u.APIVersion, u.Kind), gvk); err != nil {
		return err
	}
	if err := api.UnmarshalProtobuf(u.Raw, obj); err != nil {
		return errCannotDecode(gvk, err)
	}
	obj.GetObjectKind().SetGroupVersionKind(gvk)
	return nil
}

// toJSON converts YAML, in which a key may stand only once.
func toJSON(data []byte, strict api.FieldValidation, warn func(string)) ([]byte, error) {
	if strict != api.ValidationIgnore {
		out, err := yaml.YAMLToJSONStrict(data)
		if err == nil {
			return out, nil
		}
		if strict == api.ValidationStrict {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding YAML: %v", err))
		}
		if warn != nil {
			warn(err.Error())
		}
	}
	out, err := yaml.YAMLToJSON(data)
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding YAML: %v", err))
	}
	return out, nil
}

func decodeJSON(data []byte, obj runtime.Object, t target, strict api.FieldValidation, warn func(string)) error {
	err := unmarshalJSON(data, obj, t, strict, warn)
	var status apierrors.APIStatus
	if err != nil && !errors.As(err, &status) {
		return errCannotDecode(t.gvk, err)
	}
	return err
}

// unmarshalJSON is decodeJSON without its words around what is wrong with the data. obj is zero.
func unmarshalJSON(data []byte, obj runtime.Object, t target, strict api.FieldValidation, warn func(string)) error {
	var loose []error
	var err error
	if untyped, ok := obj.(*unstructured.Unstructured); ok {
		loose, err = unmarshalUntyped(data, untyped)
	} else if fastjson.Unmarshal(data, obj) {
		// Nothing is wrong with it.
	} else if strict == api.ValidationIgnore || strict == api.ValidationWarn && warn == nil {
		err = kjson.UnmarshalCaseSensitivePreserveInts(data, obj)
	} else {
		loose, err = kjson.UnmarshalStrict(data, obj)
	}
	if err != nil {
		return err
	}
	if err := checkKind(obj.GetObjectKind().GroupVersionKind(), t.gvk); err != nil {
		return err
	}
	obj.GetObjectKind().SetGroupVersionKind(t.gvk)
	if own, ok := obj.(api.Object); ok && t.prune != nil {
		for _, path := range t.prune(own) {
			loose = append(loose, fmt.Errorf("unknown field %q", path))
		}
	}
	if len(loose) == 0 || strict == api.ValidationIgnore || strict == api.ValidationWarn && warn == nil {
		return nil
	}
	if strict == api.ValidationStrict {
		texts := make([]string, len(loose))
		for i, e := range loose {
			texts[i] = e.Error()
		}
		return fmt.Errorf("strict decoding error: %s", strings.Join(texts, ", "))
	}
	for _, e := range loose {
		warn(e.Error())
	}
	return nil
}

// unmarshalUntyped reads an object without a Go type, whose metadata have one all the same.
func unmarshalUntyped(data []byte, u *unstructured.Unstructured) (loose []error, err error) {
	if loose, err = kjson.UnmarshalStrict(data, &u.Object); err != nil {
		return nil, err
	}
	if u.Object == nil {
		return nil, errors.New("there is no object")
	}
	if _, err := api.MetadataOf(u); err != nil {
		return nil, err
	}
	return loose, nil
}

// checkKind lets a body leave its kind out.
func checkKind(got, want schema.GroupVersionKind) error {
	if got.Empty() || got == want {
		return nil
	}
	if got.Kind != "" && got.Version == "" {
		return apierrors.NewBadRequest(fmt.Sprintf("Object 'apiVersion' is missing in a body of kind %s", got.Kind))
	}
	if got.Kind == "" && got.GroupVersion() == want.GroupVersion() {
		return nil
	}
	return apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: expected %s, got %s",
		want.Kind, want.Version, want.Kind, want, got))
}

func errCannotDecode(gvk schema.GroupVersionKind, err error) error {
	return apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: %v", gvk.Kind, gvk.Version, gvk.Kind, err))
}
