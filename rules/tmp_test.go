package rules

import (
	"os"
	"testing"
)

func TestTmp(t *testing.T) {
	p, err := LoadFile(os.Getenv("POL"))
	if err != nil {
		t.Fatal("\n" + err.Error())
	}
	t.Log(p.ID(), len(p.ids))
}
