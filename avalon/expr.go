package avalon

import "go.mongodb.org/mongo-driver/v2/bson"

// elements is the list, or an empty one for what is none.
func elements(list string) bson.D { return call("$cond", call("$isArray", list), list, bson.A{}) }

// call builds an aggregation expression: one argument as it is, several as a list.
func call(op string, args ...any) bson.D {
	if len(args) == 1 {
		return bson.D{{Key: op, Value: args[0]}}
	}
	return bson.D{{Key: op, Value: bson.A(args)}}
}

// some is true if the condition holds for an element, $$e, of the list.
func some(list, cond any) bson.D { return call("$anyElementTrue", bson.A{mapped(list, "e", cond)}) }

// mapped is the list with each element, called as, replaced by what the expression says.
func mapped(list any, as string, expr any) bson.D {
	return call("$map", bson.D{{Key: "input", Value: list}, {Key: "as", Value: as}, {Key: "in", Value: expr}})
}

func matches(input, regex string) bson.D {
	return call("$regexMatch", bson.D{{Key: "input", Value: input}, {Key: "regex", Value: regex}})
}

// filtered are the elements of the list, called as, for which the condition holds.
func filtered(list any, as string, cond any) bson.D {
	return call("$filter", bson.D{{Key: "input", Value: list}, {Key: "as", Value: as}, {Key: "cond", Value: cond}})
}

// isOf is true if a value has one of the types.
func isOf(value any, types ...string) bson.D {
	if len(types) == 1 {
		return call("$eq", call("$type", value), types[0])
	}
	return call("$in", call("$type", value), types)
}

// isReadable is true of a document that [Decode] takes.
func isReadable() bson.D { return call("$and", isOf("$type", "string"), call("$isArray", "$files")) }

func first(list any) bson.D { return call("$arrayElemAt", list, 0) }

func let(name string, value, in any) bson.D {
	return call("$let", bson.D{{Key: "vars", Value: bson.D{{Key: name, Value: value}}}, {Key: "in", Value: in}})
}

// then is a branch of a $switch.
func then(cond, value any) bson.D {
	return bson.D{{Key: "case", Value: cond}, {Key: "then", Value: value}}
}

// byForm is one expression for sites that are a list, one for a dict, and one for all others.
func byForm(sites string, list, dict, other any) bson.D {
	return call("$switch", bson.D{
		{Key: "branches", Value: bson.A{then(call("$isArray", sites), list), then(isOf(sites, "object"), dict)}},
		{Key: "default", Value: other},
	})
}

// without is the record without the fields.
func without(rec string, fields ...string) bson.D {
	kept := filtered(call("$objectToArray", rec), "e", call("$not", call("$in", "$$e.k", fields)))
	return call("$arrayToObject", kept)
}

// is compares an expression with a value, whatever that is. Null equals a field that is missing.
func is(expr, v any) bson.D { return call("$eq", call("$ifNull", expr, nil), literal(v)) }

// literal is a value that is not to be read as an expression.
func literal(v any) bson.D { return bson.D{{Key: "$literal", Value: v}} }

// eq compares by value, whatever the value is: a pattern or a document would mean something else.
func eq(v any) bson.D { return bson.D{{Key: "$eq", Value: v}} }
