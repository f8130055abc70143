package membership

// Disk is which data directory a node stands on.
type Disk struct {
	ID     string // random, made with the directory
	Starts uint64 // counts the starts on it, this one included
	Gap    bool   // this start found a hole in what was acknowledged
}

// Sighting is what others remember of a node's disk.
type Sighting struct {
	Disk   string `json:"disk_id"`
	Starts uint64 `json:"starts"`
}

// GapReason is the reason of a node whose disk says what it has lost; all other
// reasons are to merge everything.
const GapReason = "its log or a file had a gap"

// RefillReason says why a node must merge its data back from others before it
// counts for anything (C5); empty when it need not. recorded is the disk that
// the ring names for it (empty: none), merged the disk that a refill of this
// node was completed on (empty: none), seen what others remember.
func RefillReason(d Disk, recorded, merged string, seen []Sighting) string {
	if recorded != "" && d.ID != recorded && d.ID != merged {
		return "its disk is a new one"
	}
	for _, s := range seen {
		if s.Disk == d.ID && s.Starts > d.Starts {
			return "its disk is an older copy"
		}
	}
	if d.Gap {
		return GapReason
	}
	return ""
}
