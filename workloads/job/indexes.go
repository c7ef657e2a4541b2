package job

import (
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// noIndex stands for a pod that has no completion index.
const noIndex = -1

// interval is a run of completion indexes, both ends included.
type interval struct{ first, last int }

// indexes is a set of completion indexes: intervals in rising order that neither touch nor overlap.
type indexes []interval

// parseIndexes reads the form of status.completedIndexes, "1,3-5,7". What is not below completions, or
// cannot be read, is left out.
func parseIndexes(text string, completions int) indexes {
	var out indexes
	for part := range strings.SplitSeq(text, ",") {
		from, to, ranged := strings.Cut(part, "-")
		first, err := strconv.Atoi(from)
		if err != nil || first >= completions {
			continue
		}
		last := first
		if ranged {
			if last, err = strconv.Atoi(to); err != nil {
				continue
			}
		}
		out = append(out, interval{first, min(last, completions-1)})
	}
	return out.union(nil)
}

// indexesOf makes a set of single indexes in any order.
func indexesOf(list ...int) indexes {
	out := make(indexes, len(list))
	for i, n := range list {
		out[i] = interval{n, n}
	}
	return out.union(nil)
}

// union returns a new set with the indexes of both.
func (x indexes) union(y indexes) indexes {
	all := slices.Concat(x, y)
	slices.SortFunc(all, func(a, b interval) int { return a.first - b.first })
	var out indexes
	for _, v := range all {
		if n := len(out); n > 0 && v.first <= out[n-1].last+1 {
			out[n-1].last = max(out[n-1].last, v.last)
			continue
		}
		out = append(out, v)
	}
	return out
}

func (x indexes) has(n int) bool {
	_, ok := slices.BinarySearchFunc(x, n, func(v interval, n int) int {
		switch {
		case v.last < n:
			return -1
		case v.first > n:
			return 1
		}
		return 0
	})
	return ok
}

func (x indexes) len() int {
	n := 0
	for _, v := range x {
		n += v.last - v.first + 1
	}
	return n
}

// shared is how many indexes are in both.
func (x indexes) shared(y indexes) int {
	n := 0
	for len(x) > 0 && len(y) > 0 {
		n += max(0, min(x[0].last, y[0].last)-max(x[0].first, y[0].first)+1)
		if x[0].last < y[0].last {
			x = x[1:]
		} else {
			y = y[1:]
		}
	}
	return n
}

// missing are the lowest indexes below completions that the set lacks, count at most.
func (x indexes) missing(count, completions int) []int {
	var out []int
	next := 0
	for _, v := range append(slices.Clone(x), interval{completions, completions}) {
		for ; next < min(v.first, completions) && len(out) < count; next++ {
			out = append(out, next)
		}
		next = max(next, v.last+1)
	}
	return out
}

// String is the form that statuses have: "1,3-5,7".
func (x indexes) String() string {
	var b strings.Builder
	for i, v := range x {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(v.first))
		if v.last > v.first {
			sep := byte('-')
			if v.last == v.first+1 {
				sep = ','
			}
			b.WriteByte(sep)
			b.WriteString(strconv.Itoa(v.last))
		}
	}
	return b.String()
}

// indexOf is the completion index that the pod was made for.
func indexOf(pod *corev1.Pod) int {
	n, err := strconv.Atoi(pod.Annotations[batchv1.JobCompletionIndexAnnotation])
	if err != nil || n < 0 {
		return noIndex
	}
	return n
}

func indexesOfPods(pods []*corev1.Pod) indexes {
	var list []int
	for _, pod := range pods {
		if n := indexOf(pod); n != noIndex {
			list = append(list, n)
		}
	}
	return indexesOf(list...)
}
