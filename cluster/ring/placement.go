package ring

// walk goes clockwise over the tokens and picks distinct members, the first of
// them in distinct zones.
type walk struct {
	r      *Ring
	owners int
	zones  []int // zone number of each member; members without a zone have their own
	count  int   // number of zones

	seen    []bool // by member
	zoned   []bool // by zone
	picked  []uint16
	skipped []uint16 // members whose zone was taken, in clockwise order
}

func newWalk(r *Ring, owners int) *walk {
	w := &walk{r: r, owners: owners, zones: make([]int, len(r.members)), seen: make([]bool, len(r.members))}
	byName := map[string]int{}
	for i, m := range r.members {
		zone, ok := byName[m.Zone]
		if !ok || m.Zone == "" {
			zone = w.count
			w.count++
			byName[m.Zone] = zone
		}
		w.zones[i] = zone
	}
	w.zoned = make([]bool, w.count)
	return w
}

// from returns the candidates of a bucket. The slice is used again by the next
// call.
func (w *walk) from(bucket int) []uint16 {
	clear(w.seen)
	clear(w.zoned)
	w.picked, w.skipped = w.picked[:0], w.skipped[:0]
	n, zonesLeft := len(w.r.tokens), w.count
	for i := 0; i < n && !w.done(zonesLeft); i++ {
		m := w.r.first[(bucket+i)%n]
		if w.seen[m] {
			continue
		}
		w.seen[m] = true
		zone := w.zones[m]
		if len(w.picked) < w.owners && w.zoned[zone] {
			w.skipped = append(w.skipped, m)
			continue
		}
		if !w.zoned[zone] {
			w.zoned[zone] = true
			zonesLeft--
		}
		w.picked = append(w.picked, m)
	}
	return w.fill()
}

// done says whether the walk can end: all candidates are there, or no zone is
// left that an owner could come from and the members passed over are enough.
func (w *walk) done(zonesLeft int) bool {
	if len(w.picked) >= w.owners {
		return len(w.picked)+len(w.skipped) >= w.r.width
	}
	return zonesLeft == 0 && len(w.picked)+len(w.skipped) >= w.r.width
}

// fill takes members that were passed over because of their zone: first as
// owners where there are fewer zones than copies, then as the first stand-ins.
func (w *walk) fill() []uint16 {
	if len(w.skipped) == 0 {
		return w.picked[:w.r.width]
	}
	owners := w.picked[:min(len(w.picked), w.owners)]
	rest := w.picked[len(owners):]
	all := append([]uint16{}, owners...)
	all = append(all, w.skipped...)
	all = append(all, rest...)
	return all[:w.r.width]
}
