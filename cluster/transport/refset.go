package transport

// refPage is the number of references in one page of the sets and tables here.
const refPage = 1 << 12

// refSet is a set of references: pages of bits.
type refSet struct {
	pages []*[refPage / 64]uint64
}

// add puts the reference into the set; false when it was there.
func (s *refSet) add(ref uint32) bool {
	page := int(ref / refPage)
	for page >= len(s.pages) {
		s.pages = append(s.pages, nil)
	}
	if s.pages[page] == nil {
		s.pages[page] = new([refPage / 64]uint64)
	}
	word, bit := &s.pages[page][ref%refPage/64], uint64(1)<<(ref%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}

func (s *refSet) remove(ref uint32) {
	if page := int(ref / refPage); page < len(s.pages) && s.pages[page] != nil {
		s.pages[page][ref%refPage/64] &^= 1 << (ref % 64)
	}
}
