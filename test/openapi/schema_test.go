package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

type object = map[string]any

// document is the file, as YAML has it.
type document struct{ root object }

func readDocument(t *testing.T) *document {
	t.Helper()
	text, err := os.ReadFile("../../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d := &document{}
	if err := yaml.Unmarshal(text, &d.root); err != nil {
		t.Fatal(err)
	}
	return d
}

// resolve follows a reference, where there is one.
func (d *document) resolve(v object) (object, error) {
	name, ok := v["$ref"].(string)
	if !ok {
		return v, nil
	}
	at := any(d.root)
	for _, part := range strings.Split(strings.TrimPrefix(name, "#/"), "/") {
		members, _ := at.(object)
		if at, ok = members[part]; !ok {
			return nil, fmt.Errorf("%s leads nowhere", name)
		}
	}
	found, ok := at.(object)
	if !ok {
		return nil, fmt.Errorf("%s is no object", name)
	}
	return d.resolve(found)
}

// explanations are words of a schema that check nothing.
var explanations = []string{"description", "default"}

// checkText holds a JSON text against a schema.
func (d *document) checkText(schema object, text string) error {
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return fmt.Errorf("no JSON: %w", err)
	}
	return d.check(schema, value)
}

// check holds a value against a schema.
func (d *document) check(schema object, value any) error {
	schema, err := d.resolve(schema)
	if err != nil {
		return err
	}
	for word, want := range schema {
		if err := d.checkWord(schema, word, want, value); err != nil {
			return err
		}
	}
	return nil
}

func (d *document) checkWord(schema object, word string, want, value any) error {
	members, isObject := value.(object)
	list, _ := value.([]any)
	switch word {
	case "type":
		if !isOf(want, value) {
			return fmt.Errorf("%v is no %v", value, want)
		}
	case "enum":
		if allowed, _ := want.([]any); !slices.ContainsFunc(allowed, func(a any) bool { return fmt.Sprint(a) == fmt.Sprint(value) }) {
			return fmt.Errorf("%v is none of %v", value, want)
		}
	case "required":
		names, _ := want.([]any)
		for _, name := range names {
			if _, has := members[fmt.Sprint(name)]; isObject && !has {
				return fmt.Errorf("%v is missing in %v", name, value)
			}
		}
	case "properties":
		properties, _ := want.(object)
		for name, schema := range properties {
			if member, has := members[name]; has {
				if err := d.check(schema.(object), member); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
		}
	case "additionalProperties":
		return d.checkOthers(schema, want, members)
	case "items":
		for i, item := range list {
			if err := d.check(want.(object), item); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
		}
	case "oneOf":
		return d.checkOneOf(want, value)
	case "minLength":
		if s, ok := value.(string); ok && len(s) < want.(int) {
			return fmt.Errorf("%q is shorter than %v", s, want)
		}
	case "minimum":
		if n, ok := value.(json.Number); ok {
			if f, err := n.Float64(); err != nil || f < float64(want.(int)) {
				return fmt.Errorf("%v is below %v", n, want)
			}
		}
	default:
		if !slices.Contains(explanations, word) {
			return fmt.Errorf("the test does not know the word %s", word)
		}
	}
	return nil
}

// checkOthers checks the members that properties does not name.
func (d *document) checkOthers(schema object, want any, members object) error {
	known, _ := schema["properties"].(object)
	for name, member := range members {
		if _, is := known[name]; is {
			continue
		}
		if want == false {
			return fmt.Errorf("the member %s is not in the file", name)
		}
		if s, ok := want.(object); ok {
			if err := d.check(s, member); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

func (d *document) checkOneOf(want, value any) error {
	var faults []string
	fit := 0
	schemas, _ := want.([]any)
	for _, s := range schemas {
		if err := d.check(s.(object), value); err != nil {
			faults = append(faults, err.Error())
			continue
		}
		fit++
	}
	if fit != 1 {
		return fmt.Errorf("%v fits %d of the alternatives: %s", value, fit, strings.Join(faults, "; "))
	}
	return nil
}

// isOf says whether a value is of a JSON type.
func isOf(kind, value any) bool {
	switch v := value.(type) {
	case nil:
		return kind == "null"
	case bool:
		return kind == "boolean"
	case string:
		return kind == "string"
	case []any:
		return kind == "array"
	case object:
		return kind == "object"
	case json.Number:
		f, err := v.Float64()
		return err == nil && (kind == "number" || kind == "integer" && f == math.Trunc(f))
	}
	return false
}

// TestChecker: the checker refuses what the schemas refuse.
func TestChecker(t *testing.T) {
	d := readDocument(t)
	ref := func(name string) object { return object{"$ref": "#/components/schemas/" + name} }
	for _, c := range []struct {
		schema object
		text   string
		ok     bool
	}{
		{ref("Point"), `{"timestamp":1,"value":2.5}`, true},
		{ref("Point"), `{"timestamp":1,"value":"NaN"}`, true},
		{ref("Point"), `{"timestamp":1.5,"value":1}`, false},
		{ref("Point"), `{"timestamp":1,"value":"x"}`, false},
		{ref("Point"), `{"timestamp":1}`, false},
		{ref("Point"), `{"timestamp":1,"value":1,"more":1}`, false},
		{ref("Points"), `[{"timestamp":1,"value":null}]`, false},
		{ref("Error"), `{"error":""}`, false},
		{ref("Health"), `{"status":"fine","node_id":1,"cluster_size":1,"ready":true,"version":"1"}`, false},
		{ref("Nothing"), `1`, false},
		{object{"maximum": 1}, `1`, false},
	} {
		if err := d.checkText(c.schema, c.text); (err == nil) != c.ok {
			t.Errorf("%v %s: %v, want ok = %v", c.schema, c.text, err, c.ok)
		}
	}
}
