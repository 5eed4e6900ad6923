package subscriber

import "testing"

func TestChoice(t *testing.T) {
	audit, err := ParseAudit(Event{Value: []byte(auditTwo)})
	if err != nil {
		t.Fatal(err)
	}
	direct, err := ParseAudit(Event{Value: []byte(auditDirect)})
	if err != nil {
		t.Fatal(err)
	}
	change, err := ParseRow(Event{Value: []byte(row)})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		choice                Choice
		audit, direct, change bool
	}{
		"all":                  {Choice{}, true, true, true},
		"user":                 {Choice{User: "alice"}, true, false, true},
		"another user":         {Choice{User: "bob"}, false, false, false},
		"application":          {Choice{Application: "webshop"}, true, false, true},
		"another application":  {Choice{Application: "web"}, false, false, false},
		"address":              {Choice{Client: "127.0.0.1"}, true, false, true},
		"address and port":     {Choice{Client: "127.0.0.1:51234"}, true, false, true},
		"another port":         {Choice{Client: "127.0.0.1:1"}, false, false, false},
		"network":              {Choice{Client: "127.0.0.0/8"}, true, false, true},
		"another network":      {Choice{Client: "10.0.0.0/8"}, false, false, false},
		"no address":           {Choice{Client: "here"}, false, false, false},
		"command":              {Choice{Command: "update"}, true, false, false},
		"another command":      {Choice{Command: "DELETE"}, false, false, false},
		"table":                {Choice{Table: "orders"}, false, true, true}, // the first record lists no tables
		"another table":        {Choice{Table: "shop.orders"}, false, false, false},
		"command with table":   {Choice{Command: "UPDATE", Table: "stock.items"}, true, false, false},
		"command, other table": {Choice{Command: "INSERT", Table: "stock.items"}, false, false, false},
	} {
		if got := test.choice.Audit(&audit); got != test.audit {
			t.Errorf("%s: audit record %t", name, got)
		}
		if got := test.choice.Audit(&direct); got != test.direct {
			t.Errorf("%s: record of a direct write %t", name, got)
		}
		if got := test.choice.Row(&change); got != test.change {
			t.Errorf("%s: row %t", name, got)
		}
	}
}
