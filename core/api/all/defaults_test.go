package all

import (
	"fmt"
	"math/rand"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/randfill"
	"sigs.k8s.io/yaml"

	"github.com/gantryio/gantry/core/api"
)

// TestDefaultsAreIdempotent holds for any object, right or wrong, since objects are defaulted when they come in, after a patch and when
// they are read: were the second time to change something, an object would differ from itself.
func TestDefaultsAreIdempotent(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	pair := 0
	fill := randfill.New().RandSource(random).NilChance(.5).NumElements(0, 3).MaxDepth(16).Funcs(
		func(s *string, c randfill.Continue) { *s = []string{"", fmt.Sprintf("w%d", c.Intn(100))}[c.Intn(2)] },
		func(q *resource.Quantity, c randfill.Continue) {
			*q = *resource.NewQuantity(c.Int63n(100), resource.DecimalSI)
		},
		func(v *intstr.IntOrString, c randfill.Continue) { *v = intstr.FromInt32(c.Int31n(100)) },
		func(v *corev1.VolumeSource, c randfill.Continue) { // one or two, each pair in its turn
			sources := reflect.ValueOf(v).Elem()
			pair++
			for _, i := range []int{pair, pair / sources.NumField()} {
				source := sources.Field(i % sources.NumField())
				source.Set(reflect.New(source.Type().Elem()))
				c.Fill(source.Interface())
			}
		},
		func(v *metav1.FieldsV1, _ randfill.Continue) { v.Raw = []byte("{}") },
		func(v *runtime.RawExtension, _ randfill.Continue) { v.Raw = []byte("{}") },
	)
	for _, r := range Kinds().All() {
		if r.Default == nil {
			continue
		}
		t.Run(r.GroupVersionKind().String(), func(t *testing.T) {
			for range 300 {
				obj := r.New()
				fill.Fill(obj)
				r.Default(obj)
				once := obj.DeepCopyObject().(api.Object)
				r.Default(obj)
				if d := cmp.Diff(once, obj.DeepCopyObject()); d != "" {
					text, _ := yaml.Marshal(once)
					t.Fatalf("the second time changes (-once +twice):\n%s\nof\n%s", d, text)
				}
			}
		})
	}
}
