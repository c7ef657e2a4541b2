package fairness

import (
	"fmt"
	"net/http"
	"strings"
	"text/tabwriter"
)

// ServeDump answers what kube-apiserver has below /debug/api_priority_and_fairness/: dump_priority_levels, dump_queues and
// dump_requests. It reports whether there is such a path.
func (l *Limiter) ServeDump(w http.ResponseWriter, name string) bool {
	var head []string
	var row func(lv *level, line func(cells ...any))
	switch name {
	case "dump_priority_levels":
		head = []string{
			"PriorityLevelName", "ActiveQueues", "IsIdle", "IsQuiescing", "WaitingRequests", "ExecutingRequests",
			"DispatchedRequests", "RejectedRequests", "TimedoutRequests", "CancelledRequests",
		}
		row = func(lv *level, line func(...any)) {
			t := &lv.tallies
			line(lv.name, lv.active(), lv.idle(), lv.gone, lv.waiting, lv.executing, t[dispatched], t[rejected], t[timedOut], t[cancelled])
		}
	case "dump_queues":
		head = []string{"PriorityLevelName", "Index", "PendingRequests", "ExecutingRequests", "SeatsInUse", "NextDispatchR", "SeatsWaiting"}
		row = func(lv *level, line func(...any)) {
			for _, q := range lv.queues {
				if q != nil {
					line(lv.name, q.index, q.length, q.executing, q.inUse, fmt.Sprintf("%.6fss", float64(q.next-lv.served)/1e6), q.work)
				}
			}
		}
	case "dump_requests":
		head = []string{"PriorityLevelName", "FlowSchemaName", "QueueIndex", "RequestIndexInQueue", "InitialSeats"}
		row = func(lv *level, line func(...any)) {
			for _, q := range lv.backlog {
				for i, w := 0, q.head; w != nil; i, w = i+1, w.next {
					line(lv.name, w.schema.name, q.index, i, w.seats)
				}
			}
		}
	default:
		return false
	}
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 8, 0, 1, ' ', 0)
	fmt.Fprintln(table, strings.Join(head, ",\t")+",")
	l.mu.Lock()
	for _, lv := range l.sorted() {
		row(lv, func(cells ...any) {
			for _, c := range cells {
				fmt.Fprintf(table, "%v,\t", c)
			}
			fmt.Fprintln(table)
		})
	}
	l.mu.Unlock()
	_ = table.Flush()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprint(w, text.String())
	return true
}

// active is how many of the level's queues have requests.
func (l *level) active() int {
	n := 0
	for _, q := range l.queues {
		if q != nil && (q.head != nil || q.executing > 0) {
			n++
		}
	}
	return n
}
