package apiserver

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor/direct"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/cache"
)

type entryOrError struct {
	entry *cache.Entry
	err   error
}

func (s *Server) answer(w http.ResponseWriter, c *call, status int, out entryOrError) {
	if out.err != nil {
		s.fail(w, c.view, out.err)
		return
	}
	s.respondEntry(w, c, status, out.entry)
}

func (s *Server) serveList(w http.ResponseWriter, c *call) {
	o, err := parseListOptions(c.query)
	if err != nil {
		s.fail(w, c.view, err)
		return
	}
	if err := checkInclude(c); err != nil {
		s.fail(w, c.view, err)
		return
	}
	page, err := s.List(c.ctx, c.q, o)
	if err != nil {
		s.fail(w, c.view, err)
		return
	}
	s.respondPage(w, c, page)
}

// body decodes the object of a create or update and returns it in the stored version.
func (c *call) body() (api.Object, error) {
	obj := c.q.Spoken().New()
	if err := c.decode(obj); err != nil {
		return nil, err
	}
	return toStored(c.ctx, c.q, obj)
}

func (c *call) decode(obj runtime.Object) error {
	data, err := readBody(c.req)
	if err != nil {
		return err
	}
	as := targetOf(c.q.Spoken())
	if _, own := obj.(api.Object); !own || c.sub != nil || c.q.Subresource == "scale" {
		if kinds, _, err := scheme.Scheme.ObjectKinds(obj); err == nil {
			as = target{gvk: kinds[0]}
		}
	}
	if err := decodeBody(contentType(c.req), data, obj, as, fieldValidation(c.query.Get("fieldValidation")), c.q.Warn); err != nil {
		return err
	}
	c.requested(obj)
	return nil
}

func (s *Server) serveCreate(w http.ResponseWriter, c *call) {
	obj, err := c.body()
	if err != nil {
		s.fail(w, c.view, err)
		return
	}
	entry, err := s.Create(c.ctx, c.q, obj)
	s.answer(w, c, http.StatusCreated, entryOrError{entry, err})
}

func (s *Server) serveUpdate(w http.ResponseWriter, c *call) {
	obj, err := c.body()
	if err != nil {
		s.fail(w, c.view, err)
		return
	}
	entry, created, err := s.Update(c.ctx, c.q, obj)
	s.answer(w, c, okOrCreated(created), entryOrError{entry, err})
}

func okOrCreated(created bool) int {
	if created {
		return http.StatusCreated
	}
	return http.StatusOK
}

// readPatch reads the body of a PATCH and what goes with it.
func (c *call) readPatch() (api.Patch, error) {
	p := api.Patch{Type: types.PatchType(contentType(c.req))}
	switch p.Type {
	case types.JSONPatchType, types.MergePatchType, types.StrategicMergePatchType, types.ApplyYAMLPatchType, types.ApplyCBORPatchType:
	default:
		return p, errPatchType
	}
	p.Validation = fieldValidation(c.query.Get("fieldValidation"))
	p.Force = queryBool(c.query, "force")
	var err error
	if p.Data, err = readBody(c.req); err == nil && p.Type == types.ApplyCBORPatchType {
		p.Type = types.ApplyYAMLPatchType // of which JSON is a part
		p.Data, err = fromCBOR(p.Data)
	}
	if err == nil && c.record != nil {
		c.record.Patched(patchJSON(&p))
	}
	return p, err
}

// patchJSON is the patch as it is recorded.
func patchJSON(p *api.Patch) []byte {
	if p.Type != types.ApplyYAMLPatchType {
		return p.Data
	}
	data, err := yaml.YAMLToJSON(p.Data)
	if err != nil {
		return nil // it will be refused
	}
	return data
}

func (s *Server) servePatch(w http.ResponseWriter, c *call) {
	p, err := c.readPatch()
	if err != nil {
		s.fail(w, c.view, err)
		return
	}
	entry, created, err := s.Patch(c.ctx, c.q, p)
	s.answer(w, c, okOrCreated(created), entryOrError{entry, err})
}

// deleteOptions reads the body and, where that is empty, the query.
func (c *call) deleteOptions() (*metav1.DeleteOptions, error) {
	opts := &metav1.DeleteOptions{}
	data, err := readBody(c.req)
	if err != nil {
		return nil, err
	}
	if len(data) > 0 {
		if err := decodeDeleteOptions(contentType(c.req), data, opts); err != nil {
			return nil, err
		}
		c.requested(opts)
	} else if err := c.deleteQuery(opts); err != nil {
		return nil, err
	}
	if errs := validation.ValidateDeleteOptions(opts); len(errs) > 0 {
		return nil, apierrors.NewInvalid(metav1.SchemeGroupVersion.WithKind("DeleteOptions").GroupKind(), "", errs)
	}
	c.q.DryRun = c.q.DryRun || len(opts.DryRun) > 0
	return opts, nil
}

// decodeDeleteOptions takes the kind under any group version: clients put that of the resource on it,
// meta.k8s.io/v1, or v1.
func decodeDeleteOptions(mediaType string, data []byte, opts *metav1.DeleteOptions) error {
	switch mediaType {
	case typeProtobuf:
		raw, ok := bytes.CutPrefix(data, api.ProtobufPrefix)
		var u runtime.Unknown
		if !ok || u.Unmarshal(raw) != nil {
			return apierrors.NewBadRequest("the body is no protobuf DeleteOptions")
		}
		data = u.Raw
		if err := opts.Unmarshal(data); err != nil {
			return apierrors.NewBadRequest(err.Error())
		}
	case typeCBOR:
		if err := direct.Unmarshal(data, opts); err != nil {
			return apierrors.NewBadRequest(err.Error())
		}
	default:
		if err := yaml.Unmarshal(data, opts); err != nil {
			return apierrors.NewBadRequest(err.Error())
		}
	}
	if opts.Kind != "" && opts.Kind != "DeleteOptions" {
		return apierrors.NewBadRequest(fmt.Sprintf("decoded object cannot be converted to DeleteOptions: %s", opts.Kind))
	}
	return nil
}

func (c *call) deleteQuery(opts *metav1.DeleteOptions) error {
	if text := c.query.Get("gracePeriodSeconds"); text != "" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return apierrors.NewBadRequest(fmt.Sprintf("invalid gracePeriodSeconds %q", text))
		}
		opts.GracePeriodSeconds = &seconds
	}
	if text := c.query.Get("propagationPolicy"); text != "" {
		policy := metav1.DeletionPropagation(text)
		opts.PropagationPolicy = &policy
	}
	if text := c.query.Get("orphanDependents"); text != "" {
		orphan := queryBool(c.query, "orphanDependents")
		opts.OrphanDependents = &orphan
	}
	return nil
}

func (s *Server) serveDelete(w http.ResponseWriter, c *call) {
	opts, err := c.deleteOptions()
	if err != nil {
		s.fail(w, c.view, err)
		return
	}
	entry, gone, err := s.Delete(c.ctx, c.q, opts)
	if err != nil {
		s.fail(w, c.view, err)
		return
	}
	if !gone {
		s.respondEntry(w, c, http.StatusOK, entry)
		return
	}
	r := c.q.Resource
	s.respondObject(w, view{format: c.view.format}, http.StatusOK, &metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusSuccess,
		Details:  &metav1.StatusDetails{Name: c.q.Name, Group: r.Group, Kind: r.Plural, UID: entry.Object.GetUID()},
	})
}

func (s *Server) serveDeleteCollection(w http.ResponseWriter, c *call) {
	list, err := parseListOptions(c.query)
	if err != nil {
		s.fail(w, c.view, err)
		return
	}
	opts, err := c.deleteOptions()
	if err != nil {
		s.fail(w, c.view, err)
		return
	}
	items, err := s.DeleteCollection(c.ctx, c.q, list, opts)
	if err != nil {
		s.fail(w, c.view, err)
		return
	}
	s.respondPage(w, c, &Page{Items: items, Revision: s.Cache.Revision()})
}
