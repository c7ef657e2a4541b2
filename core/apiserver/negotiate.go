package apiserver

import (
	"net/http"
	"strings"

	"github.com/munnerz/goautoneg"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// view is the form in which a client wants objects.
type view struct {
	// format is one of the four media types.
	format string
	// as is "", Table, PartialObjectMetadata or PartialObjectMetadataList.
	as     string
	pretty bool
}

var jsonView = view{format: typeJSON}

// negotiate picks the first acceptable form; 406 when there is none. Kinds without protobuf form can have
// their metadata as protobuf still. What is no object, an answer to a question, has neither a table nor metadata.
func negotiate(req *http.Request, protobuf, object bool) (view, error) {
	accept := req.Header.Get("Accept")
	if accept == "" || accept == typeJSON || accept == "*/*" {
		return jsonView, nil
	}
	if protobuf && (accept == typeProtobuf || accept == typeProtobuf+","+typeJSON) {
		return view{format: typeProtobuf}, nil
	}
	for _, a := range goautoneg.ParseAccept(accept) {
		v := view{as: a.Params["as"]}
		switch a.Type + "/" + a.SubType {
		case "*/*", "application/*", typeJSON:
			v.format = typeJSON
		case typeYAML:
			v.format = typeYAML
		case typeProtobuf:
			v.format = typeProtobuf
		case typeCBOR:
			v.format = typeCBOR
		case typeCBORSequence:
			if !queryBool(req.URL.Query(), "watch") {
				continue
			}
			v.format = typeCBOR
		default:
			continue
		}
		if v.format == typeProtobuf && (v.as == "Table" || v.as == "" && !protobuf) {
			continue // a table has no protobuf form either
		}
		if v.as == "" || object && servesAs(v.as, a.Params["g"], a.Params["v"]) {
			return v, nil
		}
	}
	return jsonView, errNotAcceptable
}

func servesAs(as, group, version string) bool {
	switch as {
	case "Table", "PartialObjectMetadata", "PartialObjectMetadataList":
		return (group == "" || group == metav1.GroupName) && (version == "" || version == "v1" || version == "v1beta1" && as != "Table")
	}
	return false
}

var errNotAcceptable = apierrors.NewGenericServerResponse(http.StatusNotAcceptable, "", schema.GroupResource{}, "",
	"only the following media types are accepted: "+strings.Join([]string{typeJSON, typeYAML, typeProtobuf, typeCBOR}, ", "), 0, false)
