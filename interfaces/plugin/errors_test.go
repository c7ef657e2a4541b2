package plugin_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gantryio/gantry/interfaces/plugin"
)

func TestErrorsKeepTheirMeaning(t *testing.T) {
	for _, want := range []error{
		plugin.ErrNotFound, plugin.ErrExists, plugin.ErrInvalid, plugin.ErrExhausted, plugin.ErrUnavailable, plugin.ErrUnsupported,
		context.Canceled, context.DeadlineExceeded,
	} {
		sent := fmt.Errorf("attach x: %w", want)
		got := plugin.FromStatus(plugin.ToStatus(sent))
		if !errors.Is(got, want) || got.Error() != sent.Error() {
			t.Errorf("sent %v, got %v", sent, got)
		}
	}
	if got := plugin.FromStatus(plugin.ToStatus(errors.New("odd"))); got.Error() != "odd" || status.Code(got) != codes.Unknown {
		t.Errorf("an unknown error became %v", got)
	}
	if plugin.ToStatus(nil) != nil || plugin.FromStatus(nil) != nil {
		t.Error("no error became one")
	}
}

func TestDecodeIsStrict(t *testing.T) {
	type config struct{ A int }
	if c, err := plugin.Decode[config]([]byte(`{"A":1}`)); err != nil || c.A != 1 {
		t.Errorf("got %v, %v", c, err)
	}
	if _, err := plugin.Decode[config]([]byte(`{"B":1}`)); !errors.Is(err, plugin.ErrInvalid) {
		t.Errorf("an unknown field: %v, want %v", err, plugin.ErrInvalid)
	}
}
