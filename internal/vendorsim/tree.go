package vendorsim

import (
	"fmt"
	"hash/fnv"
	"iter"
	"strconv"
)

// Tree is the vendor's content. Everything in it follows from these numbers.
type Tree struct {
	Groups     int // 400
	Devices    int // 5,000 in all
	Datagroups int // 25,000 in all
	Points     int // rows of each data group (12)
	Pages      int // of all data groups together, spread evenly (0: one each)
	// Shared puts every n-th device into a second group as well (0: none).
	Shared int
}

// Demo is the tree of the demo: 1 + 400 + 5,000 + 25,000 calls walk it.
var Demo = Tree{Groups: 400, Devices: 5_000, Datagroups: 25_000, Points: 12}

// Scaled is the demo's tree at 1/n of its size.
func Scaled(n int) Tree {
	return Tree{Groups: max(1, 400/n), Devices: max(1, 5_000/n), Datagroups: max(1, 25_000/n), Points: 12}
}

// Calls is how many calls walk the tree, if each list of nodes is one page.
func (t Tree) Calls() int { return 1 + t.Groups + t.Devices + max(t.Datagroups, t.Pages) }

// pagesOf is how many pages a data group's rows come in.
func (t Tree) pagesOf(device, datagroup int) int {
	if t.Pages <= t.Datagroups {
		return 1
	}
	i := datagroup
	for d := range device {
		i += t.datagroupsOf(d)
	}
	return t.Pages*(i+1)/t.Datagroups - t.Pages*i/t.Datagroups
}

func groupID(i int) string { return fmt.Sprintf("g%d", i+1) }

// deviceID is a number that a float64 cannot hold.
func deviceID(i int) string { return strconv.FormatInt(1<<53+1+2*int64(i), 10) }

func deviceIndex(id string) (int, bool) {
	n, err := strconv.ParseInt(id, 10, 64)
	i := (n - 1<<53 - 1) / 2
	return int(i), err == nil && i >= 0 && deviceID(int(i)) == id
}

// datagroupID wants escaping.
func datagroupID(i int) string { return fmt.Sprintf("dg/%d ü?", i+1) }

var kinds = []string{"cpu", "memory", "disk", "network", "power"}

// devicesOf lists the devices of a group by index.
func (t Tree) devicesOf(group int) (out []int) {
	for d := group; d < t.Devices; d += t.Groups {
		out = append(out, d)
	}
	if t.Shared > 0 { // those that the group before has lent
		before := (group + t.Groups - 1) % t.Groups
		for d := before; d < t.Devices && t.Groups > 1; d += t.Groups {
			if (d/t.Groups)%t.Shared == 0 {
				out = append(out, d)
			}
		}
	}
	return out
}

// datagroupsOf is how many data groups a device has.
func (t Tree) datagroupsOf(device int) int {
	n := t.Datagroups / t.Devices
	if device < t.Datagroups%t.Devices {
		n++
	}
	return n
}

// Row is one row of a leaf.
type Row struct {
	Time    int64 // Unix seconds
	Percent string
	Bytes   string
}

// rows are a leaf's rows in a window [from, to) of Unix seconds.
func (t Tree) rows(device, datagroup int, from, to int64) []Row {
	out := make([]Row, 0, t.Points)
	step := max((to-from)/int64(max(t.Points, 1)), 1)
	for i := range t.Points {
		at := from + int64(i)*step
		if at >= to {
			break
		}
		h := fnv.New64a()
		fmt.Fprint(h, device, "/", datagroup, "/", at)
		n := h.Sum64()
		out = append(out, Row{Time: at, Percent: fmt.Sprintf("%d.%02d0", n%100, n>>8%100), Bytes: strconv.FormatUint(n>>1|1<<60, 10)})
	}
	return out
}

// Leaf is one data group of one device, as a walk must find it.
type Leaf struct {
	Device, Datagroup string
	Rows              []Row
}

// Leaves is the truth: every leaf with its rows in the window, each once.
func (t Tree) Leaves(from, to int64) iter.Seq[Leaf] {
	return func(yield func(Leaf) bool) {
		for d := range t.Devices {
			for g := range t.datagroupsOf(d) {
				if !yield(Leaf{deviceID(d), datagroupID(g), t.rows(d, g, from, to)}) {
					return
				}
			}
		}
	}
}
