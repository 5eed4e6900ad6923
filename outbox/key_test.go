package outbox

import "testing"

func TestEachProxySignsWithAKeyOfItsOwn(t *testing.T) {
	note := Note{Payload: *samplePayload(FlagQuery)}
	note.KeyID = MasterKey(sampleKey).ID()
	sign := func(proxy uint32) Note {
		signed := note
		signed.MAC = MasterKey(sampleKey).Signer(proxy).mac(note.appendSigned(nil), nil, note.SQL)
		return signed
	}
	v := newVerifier([]MasterKey{sampleKey})
	own, others := sign(note.ProxyID), sign(note.ProxyID+1)
	if !v.check(&own) || v.check(&others) {
		t.Errorf("own key: %t, another proxy's: %t", v.check(&own), v.check(&others))
	}
	for proxy := range uint32(3 * maxSigners) { // forged ids do not pile up
		forged := note
		forged.ProxyID = proxy
		v.check(&forged)
	}
	if len(v.signers) > maxSigners || !v.check(&own) {
		t.Errorf("%d signers are kept, own key: %t", len(v.signers), v.check(&own))
	}
}
