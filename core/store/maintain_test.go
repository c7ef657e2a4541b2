package store

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhenToCompact(t *testing.T) {
	const mb = 1 << 20
	tests := []struct {
		name  string
		inUse func(look int64) int64
		want  map[int64]int64 // look → look up to which is compacted
	}{
		{"an external etcd", func(int64) int64 { return 0 }, map[int64]int64{11: 1, 21: 11}},
		{"little is written", func(look int64) int64 { return 10*mb + look*mb }, map[int64]int64{11: 1, 21: 11}},
		{"much is written", func(look int64) int64 { return look * 20 * mb }, map[int64]int64{3: 1, 5: 3, 8: 6, 12: 10, 18: 16}},
		{"a large database grows", func(look int64) int64 { return 1000*mb + look*100*mb }, map[int64]int64{7: 5, 16: 14}},
	}
	for _, tt := range tests {
		var past looks
		got := map[int64]int64{}
		for look := range int64(22) {
			if look == 0 {
				continue
			}
			if upTo, due := past.see(look, tt.inUse(look)); due {
				got[look] = upTo
				past.inUse = tt.inUse(look)
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}
