package docs_test

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// asvs counts the requirements of levels 1 and 2 of OWASP ASVS 5.0.0 by section; they are
// numbered from 1
// (https://github.com/OWASP/ASVS/blob/v5.0.0/5.0/docs_en/OWASP_Application_Security_Verification_Standard_5.0.0_en.csv).
const asvs = `V1.1:2 V1.2:9 V1.3:11 V1.4:3 V1.5:2 V2.1:3 V2.2:3 V2.3:4 V2.4:1 V3.2:2 V3.3:4 V3.4:6 V3.5:5 V3.7:2 V4.1:3 V4.2:1 V4.3:2 V4.4:4
V5.1:1 V5.2:3 V5.3:2 V5.4:3 V6.1:3 V6.2:12 V6.3:4 V6.4:4 V6.5:5 V6.6:3 V6.8:4 V7.1:3 V7.2:4 V7.3:2 V7.4:5 V7.5:2 V7.6:2 V8.1:2 V8.2:3 V8.3:1 V8.4:1
V9.1:3 V9.2:4 V10.1:2 V10.2:2 V10.3:4 V10.4:11 V10.5:5 V10.6:2 V10.7:3 V11.1:2 V11.2:3 V11.3:3 V11.4:4 V11.5:1 V11.6:1 V12.1:3 V12.2:2 V12.3:4
V13.1:1 V13.2:5 V13.3:2 V13.4:5 V14.1:2 V14.2:4 V14.3:3 V15.1:3 V15.2:3 V15.3:7 V16.1:1 V16.2:5 V16.3:4 V16.4:3 V16.5:3 V17.1:1 V17.2:4 V17.3:2`

// Each requirement of level 2 is in the checklist, once.
func TestTheChecklistIsWhole(t *testing.T) {
	text, err := os.ReadFile("asvs.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, m := range regexp.MustCompile(`(V\d+\.\d+)\.(\d+)(?:–(\d+))?`).FindAllStringSubmatch(string(text), -1) {
		first, _ := strconv.Atoi(m[2])
		last := first
		if m[3] != "" {
			last, _ = strconv.Atoi(m[3])
		}
		for n := first; n <= last; n++ {
			seen[fmt.Sprintf("%s.%d", m[1], n)]++
		}
	}
	whole := 0
	for section := range strings.FieldsSeq(asvs) {
		name, count, _ := strings.Cut(section, ":")
		last, _ := strconv.Atoi(count)
		for n := 1; n <= last; n++ {
			whole++
			if id := fmt.Sprintf("%s.%d", name, n); seen[id] != 1 {
				t.Errorf("%s is in the checklist %d times", id, seen[id])
			}
		}
	}
	if whole != 253 || len(seen) != whole {
		t.Errorf("the checklist has %d requirements, of %d", len(seen), whole)
	}
}
