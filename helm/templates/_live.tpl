{{/* What runs already, where helm can ask the cluster: not under `helm template`, which knows of nothing. */}}

{{/* Refuses to begin with a router while another one has pods here: each would know a part of the users. */}}
{{- define "route.oneRouter" -}}
{{- range $component := list "embedded" "pdu-gateway" }}
{{- $name := printf "%s-%s" (include "route.fullname" $) $component }}
{{- $live := lookup "apps/v1" "Deployment" $.Release.Namespace $name }}
{{- if and $live (dig "status" "replicas" 0 $live) }}
{{- $stays := and (eq $component "embedded") (eq $.Values.mode "embedded") }}
{{- if and (eq $component "pdu-gateway") (ne $.Values.mode "embedded") }}
{{- range (first $live.spec.template.spec.containers).args }}
{{- $stays = or $stays (has (trimPrefix "--upstream=" .) (include "route.upstreams" $ | fromJsonArray)) }}
{{- end }}
{{- end }}
{{- if not $stays }}
{{- fail (printf "deployment/%[1]s serves MsgServers, and what you want now has another node, or another way to it: one after the other, or each would know a part of the users. End the old one, wait until it is gone, then do this again:\n\n  kubectl -n %[2]s scale deployment/%[1]s --replicas=0\n  kubectl -n %[2]s wait --for=delete pod -l app.kubernetes.io/instance=%[3]s,app.kubernetes.io/component=%[4]s --timeout=2m\n" $name $.Release.Namespace $.Release.Name $component) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Refuses several nodes while one runs that knows nothing of their record, or has another one: both would lead, for the old
pod is there until new ones are ready. With one node the old one is gone before. */}}
{{- define "route.oneRecord" -}}
{{- if gt (int .Values.node.replicas) 1 }}
{{- $name := printf "%s-route-grpc" (include "route.fullname" .) }}
{{- $live := lookup "apps/v1" "Deployment" .Release.Namespace $name }}
{{- if and $live (dig "status" "replicas" 0 $live) }}
{{- $isSame := false }}
{{- $given := (first $live.spec.template.spec.containers).args }}
{{- range .Values.engine.nats.urls }}
{{- $isSame = or $isSame (has (printf "--nats-url=%s" .) $given) }}
{{- end }}
{{- if not (and $isSame (has (printf "--site=%s" (include "route.site" .)) $given)) }}
{{- fail (printf "deployment/%[1]s has no engine yet, or another record, and node.replicas is %[2]d: new nodes would begin beside the old one, and each would know a part of the users. Do this with node.replicas=1 first, wait until that node is ready, then ask for more:\n\n  kubectl -n %[3]s rollout status deployment/%[1]s\n" $name (int .Values.node.replicas) .Release.Namespace) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* How many gateways there are to be. With autoscaling as many as there are: if the number were left out, Kubernetes would
make it 1 when autoscaling is turned on. Nothing where nobody can tell, or there are none yet: then the autoscaler has it. */}}
{{- define "route.gateways" -}}
{{- if .Values.gateway.autoscaling.enabled }}
{{- $live := lookup "apps/v1" "Deployment" .Release.Namespace (printf "%s-pdu-gateway" (include "route.fullname" .)) }}
{{- if $live }}
{{- max (dig "spec" "replicas" 1 $live) .Values.gateway.autoscaling.minReplicas }}
{{- end }}
{{- else }}
{{- .Values.gateway.replicas }}
{{- end }}
{{- end }}
