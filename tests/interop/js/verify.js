// Verifies bundles with @sigstore/verify, offline, against a trusted root of ours.
//
// Usage: verify.js TRUSTED_ROOT ARTIFACT IDENTITY ISSUER BUNDLE...
// Exit 0: all verified; 1: the first that did not, on stderr.

'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const { bundleFromJSON } = require('@sigstore/bundle');
const { TrustedRoot } = require('@sigstore/protobuf-specs');
const { PolicyError, VerificationError, Verifier, toSignedEntity, toTrustMaterial } = require('@sigstore/verify');

/** A pattern for exactly this text: the library takes names for regular expressions. */
const exactly = (text) => `^${text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`;

function verify(verifier, bundle, artifact, identity, issuer) {
  const policy = { subjectAlternativeName: exactly(identity), extensions: { issuer } };
  const { $case, dsseEnvelope } = bundle.content;
  if ($case === 'dsseEnvelope') {
    verifier.verify(toSignedEntity(bundle), policy);
    const subjects = JSON.parse(dsseEnvelope.payload).subject.map((subject) => subject.digest.sha256);
    if (!subjects.includes(crypto.createHash('sha256').update(artifact).digest('hex'))) {
      throw new VerificationError({ code: 'SUBJECT', message: 'the statement is about another artifact' });
    }
  } else {
    verifier.verify(toSignedEntity(bundle, artifact), policy);
  }
}

function main(trustedRoot, artifactFile, identity, issuer, ...names) {
  const read = (name) => JSON.parse(fs.readFileSync(name, 'utf8'));
  const verifier = new Verifier(toTrustMaterial(TrustedRoot.fromJSON(read(trustedRoot))));
  const artifact = fs.readFileSync(artifactFile);
  for (const name of names) {
    const bundle = bundleFromJSON(read(name));
    try {
      verify(verifier, bundle, artifact, identity, issuer);
    } catch (error) {
      if (!(error instanceof VerificationError || error instanceof PolicyError)) {
        throw error;
      }
      console.error(`${path.basename(name)}: ${error.code}: ${error.message}`);
      process.exitCode = 1;
      return;
    }
  }
  console.log(`verified ${names.length} bundles`);
}

main(...process.argv.slice(2));
