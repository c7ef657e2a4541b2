package apiserver_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestComponentStatuses(t *testing.T) {
	list, err := shared.typed(t).CoreV1().ComponentStatuses().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, c := range list.Items {
		got[c.Name] = string(c.Conditions[0].Status) + " " + c.Conditions[0].Message + c.Conditions[0].Error
	}
	if diff := cmp.Diff(map[string]string{"well": "True ok", "ill": "False no"}, got); diff != "" {
		t.Errorf("components (-want +got):\n%s", diff)
	}
	one := shared.request(t, "GET", "/api/v1/componentstatuses/well", "")
	if warning := one.Header.Get("Warning"); one.Code != 200 || !strings.Contains(warning, "v1 ComponentStatus is deprecated in v1.19+") {
		t.Errorf("got %d with the warning %q", one.Code, warning)
	}
	if code := shared.request(t, "GET", "/api/v1/componentstatuses/none", "").Code; code != 404 {
		t.Errorf("an unknown one: %d", code)
	}
	if code := shared.request(t, "DELETE", "/api/v1/componentstatuses/well", "").Code; code != 405 {
		t.Errorf("deleted: %d", code)
	}
}
