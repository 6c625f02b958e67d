// SPDX-License-Identifier: Apache-2.0
package interop

import "testing"

// thinOut leaves in the directory what is enough for a start, in one of several ways.
func (g *game) thinOut(t *testing.T, next engine) error {
	checkpoints, first, last, err := g.model.plan()
	if err != nil {
		return err
	}
	usable := len(checkpoints) > 0 && checkpoints[len(checkpoints)-1] >= first-1
	switch choice := g.IntN(5); {
	case choice == 0 && first == 0:
		if _, err := g.model.replay(nil, first, last); err != nil {
			return nil // Not without the checkpoints.
		}
		t.Log("only the log")
		return g.removeCheckpoints(checkpoints)
	case choice == 1 && usable:
		t.Log("only the newest checkpoint, and the segments behind it")
		newest := checkpoints[len(checkpoints)-1]
		if err := g.removeCheckpoints(checkpoints[:len(checkpoints)-1]); err != nil {
			return err
		}
		upTo := newest
		// flow-go needs a segment.
		if next == g.ledgerd && !g.torn && !g.model.hasRecordsBehind(newest) {
			t.Log("no segments")
			upTo = last
		}
		return g.removeSegments(upTo)
	case choice == 2 && usable:
		t.Log("only the newest checkpoint, and all segments")
		return g.removeCheckpoints(checkpoints[:len(checkpoints)-1])
	}
	return nil
}

func (g *game) removeCheckpoints(numbers []int) error {
	for _, number := range numbers {
		if err := removeCheckpoint(g.model.directory, number); err != nil {
			return err
		}
		delete(g.model.verified, number)
	}
	return nil
}

func (g *game) removeSegments(upTo int) error {
	segments, err := segmentsOf(g.model.directory)
	if err != nil {
		return err
	}
	for _, segment := range segments {
		if segment > upTo {
			break
		}
		if err := removeSegment(g.model.directory, segment); err != nil {
			return err
		}
	}
	g.model.forgetLog(upTo)
	return nil
}
