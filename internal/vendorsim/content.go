package vendorsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// find is the content at a path.
func (s *Sim) find(r *http.Request, changing bool) ([]byte, bool) {
	parts := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/v1/"), "/")
	for i, p := range parts {
		raw, err := url.PathUnescape(p)
		if err != nil {
			return nil, false
		}
		parts[i] = raw
	}
	t, q := s.tree(), r.URL.Query()
	switch {
	case len(parts) == 1 && parts[0] == "groups":
		return page(q, t.Groups, func(i int) string { return fmt.Sprintf(`{"id":%q,"name":"group %d"}`, groupID(i), i+1) }), true
	case len(parts) == 3 && parts[0] == "groups" && parts[2] == "devices":
		var i int
		if _, err := fmt.Sscanf(parts[1], "g%d", &i); err != nil || groupID(i-1) != parts[1] || i > t.Groups {
			return nil, false
		}
		ids := t.devicesOf(i - 1)
		if changing {
			ids = s.change(r.URL.Path, ids)
		}
		return page(q, len(ids), func(i int) string { return fmt.Sprintf(`{"id":%s,"name":"device %d"}`, deviceID(ids[i]), ids[i]+1) }), true
	case len(parts) == 3 && parts[0] == "devices" && parts[2] == "datagroups":
		d, ok := deviceIndex(parts[1])
		if !ok || d >= t.Devices {
			return nil, false
		}
		n := t.datagroupsOf(d)
		var b bytes.Buffer
		b.WriteString(`{"data":[`)
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"id":%s,"kind":%q}`, quote(datagroupID(i)), kinds[i%len(kinds)])
		}
		b.WriteString(`],"next":null}`)
		return b.Bytes(), true
	case len(parts) == 5 && parts[0] == "devices" && parts[2] == "datagroups" && parts[4] == "data":
		return s.data(parts[1], parts[3], q)
	}
	return nil, false
}

// change makes a list differ from its last fetch: another order, and every
// other time without its last entry.
func (s *Sim) change(path string, ids []int) []int {
	s.mu.Lock()
	s.fetches[path]++
	n := s.fetches[path]
	s.mu.Unlock()
	ids = slices.Clone(ids)
	slices.Reverse(ids[:len(ids)*n/(n+1)])
	if n%2 == 0 && len(ids) > 1 {
		ids = ids[:len(ids)-1]
	}
	return ids
}

func (s *Sim) data(device, datagroup string, q url.Values) ([]byte, bool) {
	d, ok := deviceIndex(device)
	var g int
	tree := s.tree()
	if _, err := fmt.Sscanf(datagroup, "dg/%d", &g); err != nil || !ok || d >= tree.Devices || datagroupID(g-1) != datagroup || g > tree.datagroupsOf(d) {
		return nil, false
	}
	from, errF := strconv.ParseInt(q.Get("from"), 10, 64)
	to, errT := strconv.ParseInt(q.Get("to"), 10, 64)
	if errF != nil || errT != nil || q.Get("kind") != kinds[(g-1)%len(kinds)] {
		return nil, false
	}
	rows, next := tree.rows(d, g-1, from, to), ""
	if pages := tree.pagesOf(d, g-1); pages > 1 {
		at, _ := strconv.Atoi(q.Get("cursor")) // none: the first
		if at < 0 || at >= pages {
			return nil, false
		}
		rows = rows[len(rows)*at/pages : len(rows)*(at+1)/pages]
		if at+1 < pages {
			next = fmt.Sprintf(`,"next":"%d"`, at+1)
		}
	}
	var times, values bytes.Buffer
	for i, r := range rows {
		if i > 0 {
			times.WriteByte(',')
			values.WriteByte(',')
		}
		fmt.Fprint(&times, r.Time)
		fmt.Fprintf(&values, "[%s,%s]", r.Percent, r.Bytes)
	}
	return fmt.Appendf(nil, `{"points":["percent","bytes"],"times":[%s],"values":[%s]%s}`, times.String(), values.String(), next), true
}

// page is {"items": [...], "total": n} for offset and size.
func page(q url.Values, n int, item func(int) string) []byte {
	offset, _ := strconv.Atoi(q.Get("offset"))
	size, err := strconv.Atoi(q.Get("size"))
	if err != nil || size > 1000 || size < 1 {
		size = 1000
	}
	var b bytes.Buffer
	b.WriteString(`{"items":[`)
	for i := max(offset, 0); i < min(n, offset+size); i++ {
		if i > offset {
			b.WriteByte(',')
		}
		b.WriteString(item(i))
	}
	fmt.Fprintf(&b, `],"total":%d}`, n)
	return b.Bytes()
}

func quote(s string) string {
	b, _ := json.Marshal(s) // a string is always JSON
	return string(b)
}
