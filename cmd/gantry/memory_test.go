package main

import "testing"

func TestShouldTrim(t *testing.T) {
	const mb = 1 << 20
	tests := []struct {
		name        string
		before, now heap
		want        bool
	}{
		{"after a start", heap{allocated: 50 * mb}, heap{allocated: 50*mb + 1000, live: 15 * mb, objects: 34 * mb}, true},
		{"free and not returned", heap{allocated: 50 * mb}, heap{allocated: 50 * mb, live: 15 * mb, objects: 15 * mb, idle: 8 * mb}, true},
		{"trimmed already", heap{allocated: 50 * mb}, heap{allocated: 51 * mb, live: 15 * mb, objects: 16 * mb, idle: mb}, false},
		{"busy", heap{allocated: 50 * mb}, heap{allocated: 60 * mb, live: 15 * mb, objects: 34 * mb}, false},
		{"collected since the objects were counted", heap{}, heap{live: 16 * mb, objects: 15 * mb}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := shouldTrim(tt.before, tt.now); got != tt.want {
				t.Errorf("shouldTrim(%+v, %+v) = %v, want %v", tt.before, tt.now, got, tt.want)
			}
		})
	}
}
