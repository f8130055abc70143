package node

import (
	"testing"

	"github.com/count-db/count/cluster/settle"
	"github.com/count-db/count/internal/model"
)

// TestCheckSettled: V4. What a member promised, was frozen for and has settled must
// fit one another.
func TestCheckSettled(t *testing.T) {
	at := func(v model.Version) settle.Round { return settle.Round{Floor: v, Leader: 1} }
	for _, c := range []struct {
		s     settle.State
		whole bool
	}{
		{settle.State{}, true},
		{settle.State{Mark: 9}, true},
		{settle.State{Mark: 9, Floor: 7, Decided: at(7)}, true},
		{settle.State{Mark: 9, Floor: 7, Decided: at(7), Frozen: at(8)}, true},
		{settle.State{Mark: 6, Floor: 7, Decided: at(7)}, false},
		{settle.State{Mark: 9, Floor: 7, Decided: at(6)}, false},
		{settle.State{Mark: 9, Floor: 7, Decided: at(7), Frozen: at(7)}, false},
		{settle.State{Mark: 9, Floor: 7, Decided: at(7), Frozen: at(10)}, false},
	} {
		if err := checkSettled(&c.s); (err == nil) != c.whole {
			t.Errorf("%+v: %v", c.s, err)
		}
	}
}
