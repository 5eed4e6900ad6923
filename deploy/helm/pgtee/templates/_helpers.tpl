{{- define "pgtee.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Names leave room for the longest suffix, -dashboard. */}}
{{- define "pgtee.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" }}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" }}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 53 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "pgtee.selectorLabels" -}}
app.kubernetes.io/name: {{ include "pgtee.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: {{ .Values.mode }}
{{- end }}

{{/* Labels of objects. Pods have fewer: a new version of the chart alone must not replace them. */}}
{{- define "pgtee.labels" -}}
{{- with .Values.commonLabels }}{{ toYaml . }}
{{ end -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "pgtee.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "pgtee.serviceAccountName" -}}
{{- default (ternary (include "pgtee.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{- define "pgtee.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- end }}
{{- end }}

{{/* Whether the release serves clients, and whether it publishes; empty if not. */}}
{{- define "pgtee.serves" -}}{{ if has .Values.mode (list "gateway" "run") }}true{{ end }}{{- end }}
{{- define "pgtee.publishes" -}}{{ if has .Values.mode (list "publisher" "run") }}true{{ end }}{{- end }}

{{/* The command of each mode. */}}
{{- define "pgtee.command" -}}
{{- get (dict "gateway" "proxy" "sidecar" "proxy" "publisher" "publish" "run" "run") .Values.mode }}
{{- end }}

{{/* The configuration file: what follows from other values, and config. */}}
{{- define "pgtee.config" -}}
{{- if gt (mulf 2 .Values.drain.delaySeconds) (float64 .Values.drain.seconds) }}
{{- fail (printf "drain.delaySeconds is %v and drain.seconds %v: want at most half of it, so that sessions have time to end" .Values.drain.delaySeconds .Values.drain.seconds) }}
{{- end }}
{{- $set := dict "drain" (printf "%vs" .Values.drain.seconds) "key" "/etc/pgtee/note.key" }}
{{- if eq .Values.mode "sidecar" }}
{{- $_ := set $set "listen" (list .Values.sidecar.listen) }}
{{- end }}
{{- if include "pgtee.serves" . }}
{{- $_ := set $set "listen" (list ":6432") }}
{{- $_ := set $set "drain-delay" (printf "%vs" .Values.drain.delaySeconds) }}
{{- end }}
{{- if and .Values.clientTLS.secret (ne .Values.mode "publisher") }}
{{- $_ := set $set "tls-cert" "/etc/pgtee/clients/tls.crt" }}
{{- $_ := set $set "tls-key" "/etc/pgtee/clients/tls.key" }}
{{- $_ := set $set "tls-mode" .Values.clientTLS.mode }}
{{- if .Values.clientTLS.clientCA }}
{{- $_ := set $set "tls-client-ca" "/etc/pgtee/clients/ca.crt" }}
{{- end }}
{{- end }}
{{- if include "pgtee.publishes" . }}
{{- /* Always a standby: during an update the old publisher still holds the slot. */}}
{{- $_ := set $set "standby" true }}
{{- $_ := set $set "kafka" .Values.kafka.brokers }}
{{- with .Values.kafka.tls }}
{{- if .enabled }}
{{- $_ := set $set "kafka-tls" true }}
{{- range $part := list "ca" "cert" "key" }}
{{- with get $.Values.kafka.tls $part }}{{ $_ := set $set (printf "kafka-%s" $part) (printf "/etc/pgtee/kafka/%s" .) }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.kafka.sasl }}
{{- if ne .mechanism "none" }}
{{- $_ := set $set "kafka-sasl" .mechanism }}
{{- $_ := set $set "kafka-password-file" "/etc/pgtee/kafka-password" }}
{{- with .user }}{{ $_ := set $set "kafka-user" . }}{{ end }}
{{- end }}
{{- end }}
{{- with .Values.schemaRegistry }}
{{- if .urls }}
{{- $_ := set $set "schema-registry" .urls }}
{{- if .secret.name }}{{ $_ := set $set "schema-registry-auth-file" "/etc/pgtee/schema-registry-auth" }}{{ end }}
{{- range $part := list "ca" "cert" "key" }}
{{- with get $.Values.schemaRegistry.tls $part }}{{ $_ := set $set (printf "schema-registry-%s" $part) (printf "/etc/pgtee/schema-registry/%s" .) }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- if .Values.hashSalt.secret.name }}{{ $_ := set $set "hash-salt-file" "/etc/pgtee/hash-salt" }}{{ end }}
{{- end }}
{{- if .Values.console.enabled }}
{{- $service := printf "%s-console" (include "pgtee.fullname" .) }}
{{- $_ := set $set "console" ":8088" }}
{{- $_ := set $set "console-logins" "/etc/pgtee/console-logins" }}
{{- $_ := set $set "console-host" (concat (list $service (printf "%s.%s" $service .Release.Namespace) (printf "%s.%s.svc" $service .Release.Namespace)) .Values.console.hosts) }}
{{- if .Values.console.tls.secret }}
{{- $_ := set $set "console-cert" "/etc/pgtee/console/tls.crt" }}
{{- $_ := set $set "console-key" "/etc/pgtee/console/tls.key" }}
{{- if .Values.console.tls.clientCA }}
{{- $_ := set $set "console-client-ca" "/etc/pgtee/console/ca.crt" }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml (merge $set .Values.config) }}
{{- end }}

{{/* One secret of the projected volume: (dict "name" NAME "items" (dict KEY PATH)). */}}
{{- define "pgtee.secretFiles" -}}
- secret:
    name: {{ .name }}
    items:
      {{- range $key, $path := .items }}
      - key: {{ $key | quote }}
        path: {{ $path }}
      {{- end }}
{{- end }}

{{/* Files for TLS to PostgreSQL, which setup needs, too. */}}
{{- define "pgtee.postgresFiles" -}}
{{- with .Values.postgres.tls }}
{{- if .secret }}
{{- $items := dict }}
{{- range .files }}{{ $_ := set $items . (printf "postgres/%s" .) }}{{ end }}
{{ include "pgtee.secretFiles" (dict "name" .secret "items" $items) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The one volume with everything that pgtee reads, at /etc/pgtee. It follows changes of the secrets. */}}
{{- define "pgtee.files" -}}
name: pgtee-files
projected:
  defaultMode: 0440
  sources:
    - configMap:
        name: {{ include "pgtee.fullname" . }}
    {{- include "pgtee.secretFiles" (dict "name" .Values.noteKey.secret.name "items" (dict .Values.noteKey.secret.key "note.key")) | nindent 4 }}
    {{- with include "pgtee.postgresFiles" . | trim }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with .Values.clientTLS }}
    {{- if and .secret (ne $.Values.mode "publisher") }}
    {{- $items := dict "tls.crt" "clients/tls.crt" "tls.key" "clients/tls.key" }}
    {{- if .clientCA }}{{ $_ := set $items "ca.crt" "clients/ca.crt" }}{{ end }}
    {{- include "pgtee.secretFiles" (dict "name" .secret "items" $items) | nindent 4 }}
    {{- end }}
    {{- end }}
    {{- if include "pgtee.publishes" . }}
    {{- range $folder, $tls := dict "kafka" .Values.kafka.tls "schema-registry" .Values.schemaRegistry.tls }}
    {{- $items := dict }}
    {{- range $part := list "ca" "cert" "key" }}
    {{- with get $tls $part }}{{ $_ := set $items . (printf "%s/%s" $folder .) }}{{ end }}
    {{- end }}
    {{- if $items }}
    {{- include "pgtee.secretFiles" (dict "name" $tls.secret "items" $items) | nindent 4 }}
    {{- end }}
    {{- end }}
    {{- if ne .Values.kafka.sasl.mechanism "none" }}
    {{- include "pgtee.secretFiles" (dict "name" .Values.kafka.sasl.secret.name "items" (dict .Values.kafka.sasl.secret.key "kafka-password")) | nindent 4 }}
    {{- end }}
    {{- with .Values.schemaRegistry.secret }}
    {{- if .name }}
    {{- include "pgtee.secretFiles" (dict "name" .name "items" (dict .key "schema-registry-auth")) | nindent 4 }}
    {{- end }}
    {{- end }}
    {{- with .Values.hashSalt.secret }}
    {{- if .name }}
    {{- include "pgtee.secretFiles" (dict "name" .name "items" (dict .key "hash-salt")) | nindent 4 }}
    {{- end }}
    {{- end }}
    {{- end }}
    {{- if .Values.console.enabled }}
    {{- with .Values.console.secret }}
    {{- include "pgtee.secretFiles" (dict "name" .name "items" (dict .key "console-logins")) | nindent 4 }}
    {{- end }}
    {{- with .Values.console.tls }}
    {{- if .secret }}
    {{- $items := dict "tls.crt" "console/tls.crt" "tls.key" "console/tls.key" }}
    {{- if .clientCA }}{{ $_ := set $items "ca.crt" "console/ca.crt" }}{{ end }}
    {{- include "pgtee.secretFiles" (dict "name" .secret "items" $items) | nindent 4 }}
    {{- end }}
    {{- end }}
    {{- end }}
{{- end }}

{{/* The container of every mode. */}}
{{- define "pgtee.container" -}}
name: pgtee
image: {{ include "pgtee.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- if eq .Values.mode "sidecar" }}
restartPolicy: Always
{{- end }}
args:
  - {{ include "pgtee.command" . }}
  - --config=/etc/pgtee/pgtee.yaml
  - --metrics=:9187
env:
  - name: PGTEE_POSTGRES
    valueFrom:
      secretKeyRef:
        name: {{ .Values.postgres.secret.name }}
        key: {{ .Values.postgres.secret.key | quote }}
  {{- with .Values.additionalEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.additionalEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
ports:
  {{- if include "pgtee.serves" . }}
  - name: postgres
    containerPort: 6432
  {{- end }}
  - name: pgtee-metrics
    containerPort: 9187
  {{- if .Values.console.enabled }}
  - name: console
    containerPort: 8088
  {{- end }}
{{- /* A sidecar's application starts once this probe succeeds. A publisher checks PostgreSQL and Kafka first. */}}
startupProbe:
  httpGet:
    path: /startupz
    port: pgtee-metrics
  periodSeconds: 1
  failureThreshold: {{ ternary 60 120 (eq .Values.mode "sidecar") }}
livenessProbe:
  httpGet:
    path: /livez
    port: pgtee-metrics
  timeoutSeconds: 5
{{- /* /readyz of a publisher fails while another one holds the slot, so an update would wait for ever for its standby. */}}
{{- if include "pgtee.serves" . }}
readinessProbe:
  httpGet:
    path: /readyz
    port: pgtee-metrics
  timeoutSeconds: 5
{{- end }}
{{- /* The last line of a halt names the repair: kubectl describe pod shows it. */}}
terminationMessagePolicy: FallbackToLogsOnError
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- toYaml .Values.containerSecurityContext | nindent 2 }}
volumeMounts:
  - name: pgtee-files
    mountPath: /etc/pgtee
    readOnly: true
  {{- if and (eq .Values.mode "sidecar") (hasPrefix "/" .Values.sidecar.listen) }}
  - name: pgtee-socket
    mountPath: {{ dir .Values.sidecar.listen }}
  {{- end }}
  {{- with .Values.additionalVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
