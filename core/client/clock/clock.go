// Package clock tells controllers the time, which their tests set.
package clock

import "time"

// Clock tells the time; a nil one tells the machine's.
type Clock func() time.Time

// Now returns the time.
func (c Clock) Now() time.Time {
	if c == nil {
		return time.Now()
	}
	return c()
}
