package parser

func mentionsSecret(sql []byte) bool            { return false }
func holdsSecret(text []byte, lexis Lexis) bool { return false }
