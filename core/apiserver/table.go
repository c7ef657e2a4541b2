package apiserver

import (
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/cache"
)

// checkInclude refuses an includeObject that no table has.
func checkInclude(c *call) error {
	switch include := c.query.Get("includeObject"); include {
	case "", string(metav1.IncludeNone), string(metav1.IncludeMetadata), string(metav1.IncludeObject):
		return nil
	default:
		return apierrors.NewBadRequest(fmt.Sprintf("unrecognized includeObject value: %q", include))
	}
}

type tableOptions struct {
	// include is None, Metadata (the default) or Object: what each row carries beside its cells.
	include string
	// bare leaves the column definitions out, as all but the first table of a watch do.
	bare bool
}

// fallbackColumns print a kind that declares none.
var fallbackColumns = []metav1.TableColumnDefinition{
	{Name: "Name", Type: "string", Format: "name", Description: "Name must be unique within a namespace."},
	{Name: "Created At", Type: "date", Description: "Time of the creation of the object."},
}

// table renders rows on the server's side, so that kubectl needs to know no kind.
func table(r *api.Resource, items []*cache.Entry, o tableOptions) (*metav1.Table, error) {
	t := &metav1.Table{
		TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "Table"},
		Rows:     make([]metav1.TableRow, len(items)),
	}
	if !o.bare {
		t.ColumnDefinitions = r.Columns
		if r.Cells == nil {
			t.ColumnDefinitions = fallbackColumns
		}
	}
	if r.TableOrder != nil {
		items = slices.Clone(items)
		slices.SortStableFunc(items, func(a, b *cache.Entry) int { return r.TableOrder(a.Object, b.Object) })
	}
	for i, e := range items {
		row := &t.Rows[i]
		if r.Cells == nil {
			row.Cells = []any{e.Object.GetName(), e.Object.GetCreationTimestamp()}
		} else {
			row.Cells = r.Cells(e.Object)
		}
		switch o.include {
		case "None":
		case "Object":
			data, err := e.JSON()
			if err != nil {
				return nil, err
			}
			row.Object = runtime.RawExtension{Raw: data}
		default:
			row.Object = runtime.RawExtension{Object: partial(e.Object)}
		}
	}
	return t, nil
}
