package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
)

var (
	errType  = errors.New("wrong type")
	duration = reflect.TypeFor[time.Duration]()
)

// fill puts the values that were set into the structs.
func (l *loader) fill() {
	for _, name := range sorted(l.origin) {
		k, _ := l.schema.find(name)
		raw, err := l.dereference(k, l.values.Get(name))
		if err != nil {
			l.problems = append(l.problems, Problem{Key: name, Source: l.origin[name], Message: name + ": " + err.Error()})
			continue
		}
		target := k.value
		if entry := strings.TrimPrefix(name, k.name+"."); entry != name {
			if k.value.IsNil() {
				k.value.Set(reflect.MakeMap(k.value.Type()))
			}
			target = reflect.New(k.value.Type().Elem()).Elem()
			if decode(raw, target) == nil {
				k.value.SetMapIndex(reflect.ValueOf(entry), target)
				continue
			}
		} else if decode(raw, target) == nil {
			continue
		}
		p := Problem{Key: name, Value: k.show(raw), Source: l.origin[name], Allowed: l.schema.allowed(k)}
		if t := k.field.Type; t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct {
			p.Message = name + ": " + oneLine(decode(raw, target))
		}
		l.problems = append(l.problems, p)
	}
}

// decode converts raw, which comes from YAML or is the text of a variable or a
// flag, and leaves target as it was when it cannot. It never guesses: no number
// becomes text, no fraction an integer, and a duration has a unit.
func decode(raw any, target reflect.Value) error {
	if raw == nil {
		return errType
	}
	out := reflect.New(target.Type())
	d, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result: out.Interface(), DecodeHook: mapstructure.DecodeHookFuncType(strict), ErrorUnused: true,
	})
	if err == nil {
		err = d.Decode(raw)
	}
	if err == nil {
		target.Set(out.Elem())
	}
	return err
}

func strict(from, to reflect.Type, value any) (any, error) {
	text, isText := value.(string)
	integer := from.Kind() >= reflect.Int && from.Kind() <= reflect.Uint64
	switch kind := to.Kind(); {
	case to == duration && isText:
		return time.ParseDuration(text)
	case to == duration && integer && fmt.Sprint(value) == "0":
		return time.Duration(0), nil
	case to == duration:
		return nil, errType
	case kind == reflect.String && !isText, kind == reflect.Bool && from.Kind() != reflect.Bool && text != "true" && text != "false":
		return nil, errType
	case kind == reflect.Bool && isText:
		return text == "true", nil
	case kind >= reflect.Int && kind <= reflect.Int64:
		if !isText && !integer {
			return nil, errType
		}
		return strconv.ParseInt(fmt.Sprint(value), 10, to.Bits())
	case kind >= reflect.Uint && kind <= reflect.Uint64:
		if !isText && !integer {
			return nil, errType
		}
		return strconv.ParseUint(fmt.Sprint(value), 10, to.Bits())
	case kind == reflect.Float32 || kind == reflect.Float64:
		if !isText && !integer && from.Kind() != reflect.Float64 {
			return nil, errType
		}
		return strconv.ParseFloat(fmt.Sprint(value), to.Bits())
	case kind == reflect.Slice && to.Elem().Kind() == reflect.Struct && isText:
		var list []any
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			return nil, errType
		}
		return list, nil
	case kind == reflect.Slice && isText:
		items := []string{}
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				items = append(items, item)
			}
		}
		return items, nil
	case kind == reflect.Slice && from.Kind() != reflect.Slice, kind == reflect.Map && from.Kind() != reflect.Map:
		return nil, errType
	}
	return value, nil
}
