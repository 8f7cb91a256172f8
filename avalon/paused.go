package avalon

import "go.mongodb.org/mongo-driver/v2/bson"

// OpenPype pauses a file by paused: true in its record of a site, and goes on when the field is removed. What else is
// found there counts as Python would read it: these values, and no value, do not pause; any other does. The model, the
// queries, the counts and the change pipeline all go by this list.
var unpausedValues = bson.A{nil, false, 0, ""}

// isPaused reports whether a record with this value of paused is to be left alone.
func isPaused(v bson.RawValue) bool {
	switch v.Type {
	case bson.TypeBoolean:
		return v.Boolean()
	case bson.TypeString:
		return v.StringValue() != ""
	case bson.TypeInt32, bson.TypeInt64:
		return v.AsInt64() != 0
	case bson.TypeDouble:
		return v.Double() != 0
	case bson.TypeDecimal128:
		n, _, err := v.Decimal128().BigInt()
		return err != nil || n.Sign() != 0 // no number, or infinite
	}
	return !missing(v)
}
