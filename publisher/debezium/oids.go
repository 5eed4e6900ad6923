package debezium

// OIDs of built-in types, from PostgreSQL's pg_type.dat.
const (
	oidBool        = 16
	oidBytea       = 17
	oidChar        = 18 // "char"
	oidInt8        = 20
	oidInt2        = 21
	oidInt4        = 23
	oidText        = 25
	oidOID         = 26
	oidJSON        = 114
	oidXML         = 142
	oidPoint       = 600
	oidLseg        = 601
	oidPath        = 602
	oidBox         = 603
	oidPolygon     = 604
	oidLine        = 628
	oidFloat4      = 700
	oidFloat8      = 701
	oidCircle      = 718
	oidMoney       = 790
	oidCharArray   = 1002
	oidBPChar      = 1042
	oidVarchar     = 1043
	oidDate        = 1082
	oidTime        = 1083
	oidTimestamp   = 1114
	oidTimestampTZ = 1184
	oidInterval    = 1186
	oidTimeTZ      = 1266
	oidBit         = 1560
	oidVarbit      = 1562
	oidNumeric     = 1700
	oidRefcursor   = 1790
	oidUUID        = 2950
	oidTSVector    = 3614
	oidJSONB       = 3802
)

// texts has the built-in types that are strings in Debezium's records too, with their semantic names.
var texts = map[uint32]string{
	oidChar: "", 19: "", oidText: "", oidBPChar: "", oidVarchar: "", // name
	oidJSON: nameJSON, oidJSONB: nameJSON, oidXML: "io.debezium.data.Xml", oidUUID: "io.debezium.data.Uuid",
	650: "", 774: "", 829: "", 869: "", // cidr, macaddr8, macaddr, inet
	oidTSVector: "io.debezium.data.Tsvector",
	3904:        "", 3906: "", 3908: "", 3910: "", 3912: "", 3926: "", // ranges
}

// shortTexts has those of them that are never stored out of line.
var shortTexts = map[uint32]bool{oidChar: true, 19: true, oidUUID: true, 650: true, 774: true, 829: true, 869: true}

// unknownTypes has the built-in types that Debezium cannot represent.
var unknownTypes = map[uint32]bool{
	4072: true, 3615: true, // jsonpath, tsquery
	4451: true, 4532: true, 4533: true, 4534: true, 4535: true, 4536: true, // multiranges
	22: true, 24: true, 27: true, 28: true, 29: true, 30: true, // int2vector, regproc, tid, xid, cid, oidvector
	2202: true, 2203: true, 2204: true, 2205: true, 2206: true, // regprocedure, regoper, regoperator, regclass, regtype
	3734: true, 3769: true, 4089: true, 4096: true, 4191: true, // regconfig, regdictionary, regnamespace, regrole, regcollation
	194: true, 1033: true, 3642: true, oidRefcursor: true, // pg_node_tree, aclitem, gtsvector
	2970: true, 3220: true, 5038: true, 5069: true, // txid_snapshot, pg_lsn, pg_snapshot, xid8
}

// arrays maps built-in array types to their element types.
var arrays = map[uint32]uint32{
	1000: oidBool, 1001: oidBytea, 1005: oidInt2, 1007: oidInt4, 1016: oidInt8, 1028: oidOID,
	oidCharArray: oidChar, 1003: 19, 1009: oidText, 1014: oidBPChar, 1015: oidVarchar,
	1021: oidFloat4, 1022: oidFloat8, 1231: oidNumeric, 791: oidMoney,
	1182: oidDate, 1183: oidTime, 1270: oidTimeTZ, 1115: oidTimestamp, 1185: oidTimestampTZ, 1187: oidInterval,
	199: oidJSON, 3807: oidJSONB, 4073: 4072, 143: oidXML, 2951: oidUUID, 1561: oidBit, 1563: oidVarbit,
	651: 650, 775: 774, 1040: 829, 1041: 869, 3643: oidTSVector, 3645: 3615,
	1017: oidPoint, 1018: oidLseg, 1019: oidPath, 1020: oidBox, 1027: oidPolygon, 629: oidLine, 719: oidCircle,
	3905: 3904, 3907: 3906, 3909: 3908, 3911: 3910, 3913: 3912, 3927: 3926,
	6150: 4451, 6151: 4532, 6152: 4533, 6153: 4534, 6155: 4535, 6157: 4536,
	1011: 28, 271: 5069, 3221: 3220, 2210: 2205, 2211: 2206, 2201: oidRefcursor,
	1006: 22, 1008: 24, 1010: 27, 1012: 29, 1013: 30, 2207: 2202, 2208: 2203, 2209: 2204, 3735: 3734, 3770: 3769,
	4090: 4089, 4097: 4096, 4192: 4191, 1034: 1033, 3644: 3642, 2949: 2970, 5039: 5038,
}

// notInArrays has the types that Debezium supports, but not as array elements.
var notInArrays = map[uint32]bool{
	19: true, oidMoney: true, oidInterval: true, oidVarbit: true, oidXML: true, oidPoint: true,
}

// builtins has the types that domains and arrays are usually based on, under the names that pgoutput uses.
var builtins = map[string]uint32{
	"bool": oidBool, "bytea": oidBytea, "int8": oidInt8, "int2": oidInt2, "int4": oidInt4, "text": oidText, "oid": oidOID, "json": oidJSON, "xml": oidXML,
	"float4": oidFloat4, "float8": oidFloat8, "money": oidMoney, "bpchar": oidBPChar, "varchar": oidVarchar, "date": oidDate, "time": oidTime,
	"timestamp": oidTimestamp, "timestamptz": oidTimestampTZ, "interval": oidInterval, "timetz": oidTimeTZ, "bit": oidBit, "varbit": oidVarbit,
	"numeric": oidNumeric, "uuid": oidUUID, "tsvector": oidTSVector, "jsonb": oidJSONB, "point": oidPoint, "name": 19, "inet": 869, "cidr": 650,
}
