// Package price is a scheduler plugin that prefers cheap nodes and keeps pods off those that are too
// expensive for them. It is also the example of how such a plugin is written.
package price

import (
	"context"
	"fmt"
	"strconv"

	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/scheduler"
)

// The names that are looked at unless others are configured.
const (
	DefaultLabel      = "price.gantry.dev/hour"
	DefaultAnnotation = "price.gantry.dev/max"
)

// Config says where prices are.
type Config struct {
	// Label is the label of nodes with their price, a decimal number.
	Label string `json:"label,omitempty"`
	// Annotation is the annotation of pods with the highest price that they may cost.
	Annotation string `json:"annotation,omitempty"`
	// Most is the price from which on nodes score nothing; 1 unless set.
	Most float64 `json:"most,omitempty"`
	// FailOpen schedules pods regardless of prices while the plugin does not answer.
	FailOpen bool `json:"failOpen,omitempty"`
}

// Judge compares prices. Nodes without a price cost nothing.
type Judge struct{ config Config }

var _ scheduler.Judge = (*Judge)(nil)

// Open checks the configuration.
func Open(c Config) (*Judge, error) {
	if c.Label == "" {
		c.Label = DefaultLabel
	}
	if c.Annotation == "" {
		c.Annotation = DefaultAnnotation
	}
	if c.Most == 0 {
		c.Most = 1
	}
	if c.Most < 0 {
		return nil, fmt.Errorf("check most: %v is below 0: %w", c.Most, plugin.ErrInvalid)
	}
	return &Judge{config: c}, nil
}

// Describe implements scheduler.Judge. Prices are labels: what pods take of a node does not matter.
func (j *Judge) Describe(context.Context) (scheduler.Description, error) {
	return scheduler.Description{FailOpen: j.config.FailOpen}, nil
}

// Judge implements scheduler.Judge.
func (j *Judge) Judge(ctx context.Context, pod scheduler.Pod, nodes []scheduler.Node) ([]scheduler.Verdict, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	limit, limited := 0.0, false
	if text, ok := pod.Annotations[j.config.Annotation]; ok {
		var err error
		if limit, err = strconv.ParseFloat(text, 64); err != nil {
			return nil, fmt.Errorf("read annotation %s: %w: %w", j.config.Annotation, err, plugin.ErrInvalid)
		}
		limited = true
	}
	out := make([]scheduler.Verdict, len(nodes))
	for i := range nodes {
		price, err := strconv.ParseFloat(nodes[i].Labels[j.config.Label], 64)
		if err != nil {
			price = 0
		}
		if limited && price > limit {
			out[i].Refusal = "node(s) were too expensive"
			continue
		}
		out[i].Score = int64(scheduler.MaxScore * max(0, 1-price/j.config.Most))
	}
	return out, nil
}
