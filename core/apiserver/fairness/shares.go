package fairness

import (
	"math"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
)

const (
	// objectsPerSeat is how many listed objects are as much work as another request, as in Kubernetes.
	objectsPerSeat = 100
	// mostSeats is how many seats a request takes at most.
	mostSeats = 10
	// seatsPart is the part of a level's seats that one request takes at most.
	seatsPart = 0.15
)

// limits are how many seats a level has.
type limits struct {
	// nominal are its own, of which it never lends min; it never uses more than max.
	nominal, min, max int
	// widest is how many one request takes at most.
	widest int
	// queues is 0 for a level that rejects what it cannot execute at once; each flow uses hand of them.
	queues, hand, length int
	exempt               bool
}

// share divides the server's seats among levels; the sum of what they have may be a little more for rounding.
func share(seats int, levels []*flowcontrolv1.PriorityLevelConfiguration) []limits {
	out := make([]limits, len(levels))
	var sum float64
	for _, l := range levels {
		shares, _, _ := sharesOf(l)
		sum += float64(shares)
	}
	for i, l := range levels {
		shares, lendable, borrowing := sharesOf(l)
		o := &out[i]
		if sum > 0 {
			o.nominal = int(math.Ceil(float64(seats) * float64(shares) / sum))
		}
		o.min = o.nominal - percent(o.nominal, lendable)
		o.max = o.nominal + seats
		if borrowing != nil {
			o.max = o.nominal + percent(o.nominal, *borrowing)
		}
		o.widest = min(mostSeats, int(math.Ceil(float64(o.nominal)*seatsPart)))
		if l.Spec.Type == flowcontrolv1.PriorityLevelEnablementExempt {
			o.exempt = true
		} else if q := l.Spec.Limited.LimitResponse.Queuing; q != nil {
			o.queues, o.hand, o.length = int(q.Queues), int(q.HandSize), int(q.QueueLengthLimit)
			// As in Kubernetes: a flow must be able to have a request executed from each queue of its hand.
			o.widest = min(o.widest, o.nominal/o.hand)
		}
		o.widest = max(o.widest, 1)
	}
	return out
}

func percent(of int, p int32) int { return int(math.Round(float64(of) * float64(p) / 100)) }

func sharesOf(l *flowcontrolv1.PriorityLevelConfiguration) (shares, lendable int32, borrowing *int32) {
	value := func(p *int32) int32 {
		if p == nil {
			return 0
		}
		return *p
	}
	if x := l.Spec.Limited; x != nil {
		return value(x.NominalConcurrencyShares), value(x.LendablePercent), x.BorrowingLimitPercent
	}
	if x := l.Spec.Exempt; x != nil {
		return value(x.NominalConcurrencyShares), value(x.LendablePercent), nil
	}
	return 0, 0, nil
}

// seatsFor is how many seats a request takes that reads so many objects.
func (l *limits) seatsFor(objects int) int {
	return max(1, min((objects+objectsPerSeat-1)/objectsPerSeat, l.widest))
}

// sound tells that a level can be used: what was stored by others need not be valid.
func sound(l *flowcontrolv1.PriorityLevelConfiguration) bool {
	if l.Spec.Type == flowcontrolv1.PriorityLevelEnablementExempt {
		return l.Name == flowcontrolv1.PriorityLevelConfigurationNameExempt
	}
	if l.Spec.Limited == nil || l.Name == flowcontrolv1.PriorityLevelConfigurationNameExempt {
		return false
	}
	q := l.Spec.Limited.LimitResponse.Queuing
	return q == nil || newDealer(int(q.Queues), int(q.HandSize)) != nil && q.QueueLengthLimit > 0
}
