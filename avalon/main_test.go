package avalon

import (
	"os"
	"testing"

	"sitesync/integration/mongod"
)

func TestMain(m *testing.M) { os.Exit(mongod.Main(m)) }
