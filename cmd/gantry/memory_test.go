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
		{"a large heap that little is asked of", heap{}, heap{allocated: 30 * mb, live: 200 * mb, objects: 320 * mb}, true},
		{"a large heap that is busy", heap{}, heap{allocated: 60 * mb, live: 200 * mb, objects: 320 * mb}, false},
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

func TestFilesAreDroppedOnceTheyAreMuchMoreThanWhatIsUsed(t *testing.T) {
	const mb = 1 << 20
	var f files
	for i, step := range []struct {
		mapped uint64 // in MB
		want   bool
	}{
		{90, true},  // after a start
		{20, false}, // what came back at once is used
		{30, false}, // not worth it
		{40, true},  // 20 more
		{37, false}, // all of it came back, so it is used
		{48, false},
		{53, true},
		{10, false}, // and now it is not
		{25, false},
		{26, true},
		{64, false}, // a busy second
		{64, false},
		{64, false},
		{64, false},
		{64, false},
		{64, true}, // which is over
	} {
		if got := f.should(step.mapped * mb); got != step.want {
			t.Errorf("step %d, %d MB: %v, want %v", i, step.mapped, got, step.want)
		}
	}
}
