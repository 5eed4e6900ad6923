package note

import "testing"

func TestEachProxySignsWithAKeyOfItsOwn(t *testing.T) {
	note := Note{Payload: *samplePayload(FlagQuery)}
	note.KeyID = MasterKey(sampleKey).ID()
	sign := func(proxy uint32) Note {
		signed := note
		signed.MAC = MasterKey(sampleKey).Signer(proxy).mac(note.appendSigned(nil), nil, note.SQL)
		return signed
	}
	v := NewVerifier([]MasterKey{sampleKey})
	own, others := sign(note.ProxyID), sign(note.ProxyID+1)
	if !v.Check(&own) || v.Check(&others) {
		t.Errorf("own key: %t, another proxy's: %t", v.Check(&own), v.Check(&others))
	}
	for proxy := range uint32(3 * maxSigners) { // forged ids do not pile up
		forged := note
		forged.ProxyID = proxy
		v.Check(&forged)
	}
	if len(v.signers) > maxSigners || !v.Check(&own) {
		t.Errorf("%d signers are kept, own key: %t", len(v.signers), v.Check(&own))
	}
}
