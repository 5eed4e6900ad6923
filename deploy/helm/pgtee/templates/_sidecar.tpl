{{/*
What the pods of an application take from this chart, which is a dependency of the application's chart with mode: sidecar. Each template is called
with the context of the dependency: {{ include "pgtee.sidecar.container" .Subcharts.pgtee }}. See ../../examples/application.
*/}}

{{/* An entry of initContainers: a proxy that starts before the application and ends after it. */}}
{{- define "pgtee.sidecar.container" -}}
- {{ include "pgtee.container" . | nindent 2 | trim }}
{{- end }}

{{/* Entries of volumes. */}}
{{- define "pgtee.sidecar.volumes" -}}
- {{ include "pgtee.files" . | nindent 2 | trim }}
{{- if hasPrefix "/" .Values.sidecar.listen }}
- name: pgtee-socket
  emptyDir:
    medium: Memory
    sizeLimit: 1Mi
{{- end }}
{{- with .Values.additionalVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* An entry of volumeMounts of the application's containers: the folder with the socket, which is the host for its driver. */}}
{{- define "pgtee.sidecar.volumeMounts" -}}
{{- if hasPrefix "/" .Values.sidecar.listen -}}
- name: pgtee-socket
  mountPath: {{ dir .Values.sidecar.listen }}
{{- end }}
{{- end }}

{{/* Labels of the pods, by which a PodMonitor finds them. */}}
{{- define "pgtee.sidecar.labels" -}}
pgtee/sidecar: {{ include "pgtee.fullname" . }}
{{- end }}

{{/* Annotations of the pods: they are replaced when the configuration changes. */}}
{{- define "pgtee.sidecar.annotations" -}}
pgtee/config: {{ include "pgtee.config" . | sha256sum }}
{{- end }}

{{/* What securityContext of the pod has to contain. */}}
{{- define "pgtee.sidecar.podSecurityContext" -}}
fsGroup: {{ .Values.podSecurityContext.fsGroup }}
{{- end }}
