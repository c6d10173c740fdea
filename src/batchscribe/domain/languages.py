"""Language codes: ours (BCP-47, as AWS Transcribe writes them) and the engines' own."""

# ruff: noqa: SIM905  A table of codes reads better as words than as a list of strings.
from __future__ import annotations

from batchscribe.errors import UnsupportedLanguage

DEFAULT_LANGUAGE_CODE = "en-US"

#: Every language code of AWS Transcribe (the ``LanguageCode`` enumeration of its service model).
AWS_LANGUAGE_CODES = frozenset(
    """
    ab-GE af-ZA am-ET ar-AE ar-SA ast-ES az-AZ ba-RU be-BY bg-BG bn-IN bs-BA ca-ES ckb-IQ ckb-IR cs-CZ cy-GB cy-WL
    da-DK de-CH de-DE el-GR en-AB en-AU en-GB en-IE en-IN en-NZ en-US en-WL en-ZA es-ES es-MX es-US et-EE et-ET eu-ES
    fa-AF fa-IR fi-FI fr-CA fr-FR ga-IE gd-GB gl-ES gu-IN ha-NG he-IL hi-IN hr-HR ht-HT hu-HU hy-AM id-ID is-IS it-IT
    ja-JP jv-ID ka-GE kab-DZ kk-KZ km-KH kn-IN ko-KR ky-KG lg-IN lt-LT lv-LV mhr-RU mi-NZ mk-MK ml-IN mn-MN mr-IN
    ms-MY mt-MT my-MM ne-NP nl-NL no-NO or-IN pa-IN pl-PL ps-AF pt-BR pt-PT ro-RO ru-RU rw-RW si-LK sk-SK sl-SI so-SO
    sq-AL sr-RS su-ID sv-SE sw-BI sw-KE sw-RW sw-TZ sw-UG ta-IN te-IN th-TH tl-PH tr-TR tt-RU ug-CN uk-UA uz-UZ vi-VN
    wo-SN zh-CN zh-HK zh-TW zu-ZA
    """.split()
)

#: The languages of the multilingual Whisper models (all but ``yue``, which only large-v3 knows).
WHISPER_LANGUAGES = frozenset(
    """
    af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu hy id
    is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa sd
    si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo zh
    """.split()
)

#: Codes whose first subtag is not Whisper's own name for the language.
_WHISPER_NAMES = {"jv": "jw", "nb": "no", "fil": "tl", "iw": "he", "cmn": "zh"}

#: What an identified language is called where AWS has several codes for it and nobody named one: which of them was
#: spoken cannot be heard, so it is the code of most speakers, or the one that AWS names first in its guide.
USUAL_CODES = {
    "ar": "ar-SA",
    "cy": "cy-GB",
    "de": "de-DE",
    "en": "en-US",
    "es": "es-ES",
    "et": "et-EE",
    "fa": "fa-IR",
    "fr": "fr-FR",
    "pt": "pt-BR",
    "sw": "sw-KE",
    "zh": "zh-CN",
}


def canonical_code(code: str) -> str:
    """Return the code as we write it (``EN-us`` becomes ``en-US``). Raises UnsupportedLanguage for an unknown one.

    Known are AWS Transcribe's codes and a bare language that Whisper recognises, such as ``en``.
    """
    known = _KNOWN_BY_FOLDED.get(code.strip().replace("_", "-").casefold())
    if known is None:
        raise UnsupportedLanguage(
            f"Unknown language code: {code[:40]}. Use a code such as en-US, zh-CN, zh-HK, es-ES or fr-FR."
        )
    return known


def whisper_language(code: str) -> str | None:
    """Return Whisper's name for the language of a canonical code, or None where the models do not know it."""
    subtag = code.partition("-")[0].casefold()
    name = _WHISPER_NAMES.get(subtag, subtag)
    return name if name in WHISPER_LANGUAGES else None


def regional_code(language: str, language_options: tuple[str, ...] = ()) -> str:
    """Return the code with which a language of Whisper's is answered when it was identified.

    That is the first of the options that is of the language; where there is none, the language's only code of AWS's or
    its usual one (:data:`USUAL_CODES`), and its bare name where AWS has no code for it.
    """
    named = next((code for code in language_options if whisper_language(code) == language), None)
    if named is not None:
        return named
    codes = [code for code in sorted(AWS_LANGUAGE_CODES) if whisper_language(code) == language]
    return USUAL_CODES.get(language) or (codes[0] if codes else language)


_KNOWN_BY_FOLDED = {code.casefold(): code for code in AWS_LANGUAGE_CODES | WHISPER_LANGUAGES | _WHISPER_NAMES.keys()}

#: The canonical codes that Whisper recognises.
WHISPER_LANGUAGE_CODES = frozenset(code for code in _KNOWN_BY_FOLDED.values() if whisper_language(code))
