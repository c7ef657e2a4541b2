package pluginhost

import (
	"encoding/json"
	"testing"

	"github.com/gantryio/gantry/interfaces/plugin"
)

func TestRecalledConfigurationsAreTheSameBytes(t *testing.T) {
	type settings struct {
		Root   string
		Handle string `json:"handle"`
		Deep   []string
	}
	c := Config{StateDir: t.TempDir()}
	set := []Plugin{
		{Kind: plugin.Runtime, Name: "a", Config: settings{Root: "/r", Handle: "<x>", Deep: []string{"z"}}, Generation: 3, Handlers: []string{"runc"}},
		{Kind: plugin.Network, Name: "b"},
	}
	if err := c.remember(set); err != nil {
		t.Fatal(err)
	}
	got, err := c.recall()
	if err != nil || len(got) != len(set) {
		t.Fatalf("recalled %v, %v", got, err)
	}
	for i := range set {
		want, _ := json.Marshal(set[i])
		have, _ := json.Marshal(got[i])
		if string(have) != string(want) {
			t.Errorf("recalled %s, want %s", have, want)
		}
	}
	if got[1].Config != nil {
		t.Errorf("no configuration became %v", got[1].Config)
	}
}
